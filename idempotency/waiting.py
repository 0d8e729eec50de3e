"""Waiting for the request in flight, by a bounded share of this process's threads."""

import threading
import time
from collections.abc import Callable

from django.db import OperationalError, connections, transaction

from idempotency.conf import conf
from idempotency.database_errors import LOCK_NOT_AVAILABLE, sqlstate
from idempotency.errors import KeyInUse
from idempotency.steps import step

POLL_SECONDS_MIN, POLL_SECONDS_MAX = 0.005, 0.03
FIRST_PAUSE_SECONDS_MAX = 0.2
STATEMENT_SECONDS_MAX = 5.0  # of one wait on the server, below a project's own deadlines

_lock = threading.Lock()
_waiting = 0
_last_wait = 0.0  # seconds until a condition came true

LIMIT_WAIT = (
    "SELECT set_config('lock_timeout', %s, true), set_config('statement_timeout', '0', true)"
)


def wait_for(lock: int, *, seconds: float, using: str = "default") -> None:
    """Return as soon as the holder of an advisory lock has committed or rolled back.

    :raises KeyInUse: it did not within so many seconds, or too many threads wait already
    """
    deadline = time.monotonic() + seconds
    if seconds <= 0 or not _enter():
        raise KeyInUse
    try:
        while not _wait_on_server(lock, seconds=deadline - time.monotonic(), using=using):
            if time.monotonic() >= deadline:
                raise KeyInUse
    finally:
        _leave()


def poll(condition: Callable[[], bool | None], *, seconds: float) -> bool:
    """Poll a condition until it is True, or hopeless (None), or the time is over.

    The first pause is a little shorter than the last wait that succeeded, so that most polls
    find it true. Returns True if it came true. Where too many threads wait already it polls only
    once.
    """
    global _last_wait  # noqa: PLW0603 - of the whole process
    started = time.monotonic()
    if condition():
        return True
    if seconds <= 0 or not _enter():
        return False
    try:
        waited, pause = 0.0, min(_last_wait * 3 / 4, FIRST_PAUSE_SECONDS_MAX)
        while waited < seconds:
            time.sleep(min(max(pause, POLL_SECONDS_MIN), seconds - waited))
            state = condition()
            waited = time.monotonic() - started
            if state:
                _last_wait = waited
            if state is not False:
                return state is True
            pause = min(waited / 4, POLL_SECONDS_MAX)
        return False
    finally:
        _leave()


def refuse_to_wait(*, using: str) -> None:
    """Have the rest of the transaction fail at once where it would have to wait for a lock."""
    with step("no-waiting"), connections[using].cursor() as cursor:
        cursor.execute("SET LOCAL lock_timeout = '1ms'")


def allow_to_wait(*, using: str) -> None:
    """Have the rest of the transaction wait for locks as its session does."""
    with connections[using].cursor() as cursor:
        cursor.execute("SET LOCAL lock_timeout TO DEFAULT")


def _wait_on_server(lock: int, *, seconds: float, using: str) -> bool:
    """Return True if the holder has ended; False if it has not within so long, or one statement."""
    milliseconds = max(1, int(min(seconds, STATEMENT_SECONDS_MAX) * 1000))
    try:
        with transaction.atomic(using=using, durable=True), connections[using].cursor() as cursor:
            cursor.execute(LIMIT_WAIT, [f"{milliseconds}ms"])
            # Shared: all who wait go on together when the holder ends, not one after another.
            with step("waited"):
                cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", [lock])
    except OperationalError as error:
        if sqlstate(error) == LOCK_NOT_AVAILABLE:
            return False
        raise
    return True


def _enter() -> bool:
    global _waiting  # noqa: PLW0603 - counts the threads of the whole process
    with _lock:
        if _waiting >= conf().WAITING_THREADS_MAX:
            return False
        _waiting += 1
        return True


def _leave() -> None:
    global _waiting  # noqa: PLW0603
    with _lock:
        _waiting -= 1
