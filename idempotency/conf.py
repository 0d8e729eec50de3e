"""The app's settings: a project overrides any of them by the same name in its settings module."""

from datetime import timedelta
from typing import Any

from django.conf import settings

DEFAULTS: dict[str, Any] = {
    # How long a response can be replayed; afterwards its key is refused with 410.
    "IDEMPOTENCY_RETENTION": timedelta(days=30),
    # How long an issued token may wait for its first use.
    "IDEMPOTENCY_TOKEN_LIFETIME": timedelta(minutes=30),
    # Tokens a caller may be issued: (how many, in how many seconds).
    "IDEMPOTENCY_TOKEN_RATE": (60, 60),
    # Threads of one process that may wait at the same time for a request in flight.
    "IDEMPOTENCY_WAITERS": 1,
}


def setting(name: str) -> Any:
    """Return the project's value for one of this app's settings, or the default above."""
    return getattr(settings, name, DEFAULTS[name])
