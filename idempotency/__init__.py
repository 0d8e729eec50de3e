"""Run a request once per key: the key, its effect and its response are one commit.

Public are these names and the modules `admin`, `ahead`, `database_errors`, `drf`, `drf_tokens`,
`drf_views`, `errors`, `failpoints`, `journal`, `migrating`, `models` (to read), `problems`,
`purge`, `rate_limit`, `signals`, `spectacular`, `steps`, `tokens`, `urls`, `views` and `waiting`.
Everything else may change.
"""

from idempotency.boundary import respond_once, stored_response
from idempotency.calls import once, run_once
from idempotency.claim import Claim, is_in_flight
from idempotency.decorators import idempotent
from idempotency.keys import digest as key_digest
from idempotency.keys import preferred_wait, read_key
from idempotency.records import replace_all_provisional, replace_provisional
from idempotency.requests import claim_of, claim_of_form
from idempotency.scope import scope_of

__all__ = [
    "Claim",
    "claim_of",
    "claim_of_form",
    "idempotent",
    "is_in_flight",
    "key_digest",
    "once",
    "preferred_wait",
    "read_key",
    "replace_all_provisional",
    "replace_provisional",
    "respond_once",
    "run_once",
    "scope_of",
    "stored_response",
]
__version__ = "0.1.0"
