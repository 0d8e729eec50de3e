"""Run a request once per key: the key, its effect and its response are one commit.

What is listed here is public; everything else may change.
"""

from idempotency.boundary import stored_response
from idempotency.calls import once, run_once
from idempotency.decorators import idempotent
from idempotency.failpoints import failpoint

__all__ = ["failpoint", "idempotent", "once", "run_once", "stored_response"]
__version__ = "0.1.0"
