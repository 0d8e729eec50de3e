"""The app's settings: one dict in the project's settings module, read when used.

IDEMPOTENCY = {"RETENTION": timedelta(days=7), "SCOPE": "shop.tenants.scope_of"}
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string


@dataclass(frozen=True)
class Settings:
    """Every setting with its default.

    :param KEY_HEADER: the request header that carries the key
    :param REPLAYED_HEADER: the response header that marks a replay
    :param SCOPE: who a key belongs to: a callable, or its dotted name, that takes the request and
        returns a text; None: `user:<pk>` of the authenticated user
    :param RETENTION: how long a response is replayed; afterwards its key is refused with 410. Each
        record keeps what held when it was made: a later value is for later records
    :param RETRY_HORIZON: for how long clients and queues retry a request; a check compares it with
        RETENTION; None: unknown
    :param RESPONSE_BYTES_MAX: a larger response is refused before the commit
    :param STORED_HEADERS: response headers that are stored and replayed (never Set-Cookie)
    :param NOT_STORED: statuses that leave no record, besides every 5xx, so that the key may retry
    :param REDACT: a callable, or its dotted name, that takes a body (bytes) and its content type
        and returns what is stored; replays return that too
    :param WAIT_SECONDS: how long a duplicate waits for the first where it doesn't say
    :param WAIT_SECONDS_MAX: how long it may ask for (`Prefer: wait=N`)
    :param WAITING_THREADS_MAX: threads of one process that may wait at the same time
    :param TOKEN_LIFETIME: how long an issued token may wait for its first use
    :param TOKEN_RATE: tokens that a scope may be issued: (how many, in how many seconds)
    :param EXECUTION_RATE: first executions that a scope may commit by requests: (how many, in how
        many seconds); None: any number. A replay never counts
    :param POOLER: True where a pooler in transaction mode is between the server and PostgreSQL
    :param PROBLEM_TYPE: the `type` of a problem document, by its slug
    :param JOURNAL_RETENTION: how long `idempotency.journal` keeps a row
    :param JOURNAL_EXECUTED: whether it also has first executions, and the steps of each request
    :param JOURNAL_SECONDS: how often a process writes its rows; None: only `recorder.flush` does
    :param JOURNAL_ROWS_MAX: rows that a process holds until they are written; more are dropped
    """

    KEY_HEADER: str = "Idempotency-Key"
    REPLAYED_HEADER: str = "Idempotent-Replayed"
    SCOPE: Callable[[Any], str] | str | None = None
    RETENTION: timedelta = timedelta(days=30)
    RETRY_HORIZON: timedelta | None = None
    RESPONSE_BYTES_MAX: int = 1024 * 1024
    STORED_HEADERS: tuple[str, ...] = ("Location", "Retry-After", "Link", "ETag")
    NOT_STORED: frozenset[int] = frozenset({400, 401, 403, 404, 429})
    REDACT: Callable[[bytes, str], bytes] | str | None = None
    WAIT_SECONDS: int = 5
    WAIT_SECONDS_MAX: int = 30
    WAITING_THREADS_MAX: int = 1
    TOKEN_LIFETIME: timedelta = timedelta(minutes=30)
    TOKEN_RATE: tuple[int, int] = (60, 60)
    EXECUTION_RATE: tuple[int, int] | None = None
    POOLER: bool = False
    PROBLEM_TYPE: str = "/problems/{slug}"
    JOURNAL_RETENTION: timedelta = timedelta(days=7)
    JOURNAL_EXECUTED: bool = False
    JOURNAL_SECONDS: float | None = 1.0
    JOURNAL_ROWS_MAX: int = 10_000


_NAMES = frozenset(field.name for field in fields(Settings))


_read: tuple[dict[str, Any], Settings] = ({}, Settings())  # the last dict, and what it came to


def conf() -> Settings:
    """Return the project's settings, with the defaults for those it leaves out.

    :raises ImproperlyConfigured: IDEMPOTENCY names a setting that there is not
    """
    global _read  # noqa: PLW0603 - any thread's reading is as good as another's
    given: dict[str, Any] = getattr(settings, "IDEMPOTENCY", {})
    last, read = _read
    if given == last:
        return read
    if unknown := given.keys() - _NAMES:
        raise ImproperlyConfigured(f"IDEMPOTENCY has no setting {', '.join(sorted(unknown))}.")
    read = Settings(**given)
    _read = (dict(given), read)
    return read


def tombstone_age() -> timedelta:
    """Return how old a key that carries its time is when its tombstone may be deleted.

    Never below 30 days: until then a new key of a client whose clock is behind is not refused.
    """
    retention = conf().RETENTION
    return retention + max(retention, timedelta(days=30))


def called(setting: Callable[..., Any] | str | None) -> Callable[..., Any] | None:
    """Return the callable that a setting is, or names."""
    return import_string(setting) if isinstance(setting, str) else setting
