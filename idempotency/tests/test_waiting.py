"""A wait for a request in flight, and a database that does not respond."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import psycopg
import pytest
from django.db import InternalError, OperationalError, connection
from psycopg.errors import ConnectionTimeout

from idempotency import Claim, failpoints, records, waiting
from idempotency.database_errors import is_repeatable, is_temporary
from idempotency.errors import KeyInUse
from idempotency.tests.conftest import Debiting
from idempotency.tests.processes import until
from idempotency.tests.project.models import Account

Hold = Callable[[str], AbstractContextManager[None]]


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The limits of the statements that wait, in order; none may be longer than 0.1 s."""
    monkeypatch.setattr(waiting, "STATEMENT_SECONDS_MAX", 0.1)
    return []


def waited(limits: list[str], after: Callable[[], Any]) -> None:
    """Wait up to 1 s for the key that is held; call `after` with each statement that waits."""

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql == waiting.LIMIT_WAIT:
            limits.extend(params)
            after()
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        waiting.wait_for(Claim("anybody", "k").key_lock, seconds=1)


@pytest.mark.django_db(transaction=True)
def test_a_long_wait_is_made_of_short_statements(hold: Hold, limits: list[str]) -> None:
    started = time.monotonic()
    with hold("anybody"), pytest.raises(KeyInUse):
        waited(limits, after=lambda: None)

    assert time.monotonic() - started >= 1
    assert len(limits) > 2
    assert max(int(limit.removesuffix("ms")) for limit in limits) == 100


@pytest.mark.django_db(transaction=True)
def test_a_wait_ends_with_the_holder_in_a_later_statement_too(
    hold: Hold, limits: list[str]
) -> None:
    holding = hold("anybody")
    holding.__enter__()

    def end_with_the_third() -> None:
        if len(limits) == 3:
            holding.__exit__(None, None, None)

    waited(limits, after=end_with_the_third)
    assert len(limits) == 3


def test_a_server_that_did_not_respond_in_time_is_temporary_and_not_worth_another_wait() -> None:
    error = OperationalError("no response")
    error.__cause__ = ConnectionTimeout("no response")
    assert is_temporary(error)
    assert not is_repeatable(error)
    error.__cause__ = None
    assert is_repeatable(error), "a lost connection is"
    assert is_repeatable(InternalError("received 2 results from command 'COMMIT'")), "a pooler's"


def test_after_a_silence_nothing_runs_anew(debit: Debiting, account: Account) -> None:
    runs: list[str] = []

    def hook(name: str) -> None:
        if name == "debited":
            runs.append(name)
            raise OperationalError("no response") from ConnectionTimeout("no response")

    failpoints.install(hook)
    try:
        response = debit()
    finally:
        failpoints.install(None)
    assert response.status_code == 500, "stock DRF's, for any database error"
    assert len(runs) == 1


# --- Who holds a lock

KEY = Claim("anybody", "k").key_lock
HIGH, LOW = (KEY >> 32), (KEY & 0xFFFFFFFF)


def signed(half: int) -> int:
    return half - 2**32 if half >= 2**31 else half


def connected(**other: Any) -> psycopg.Connection[Any]:
    return psycopg.connect(**connection.get_connection_params() | other, autocommit=True)


@contextmanager
def session(sql: str, *values: Any, **other: Any) -> Iterator[None]:
    """Have another session run a statement, and end after the block."""
    with connected(**other) as opened:
        opened.execute(sql, values)
        yield


@pytest.mark.django_db(transaction=True)
def test_a_lock_is_held_only_by_who_holds_this_very_one() -> None:
    assert not records.is_locked(KEY, using="default")
    with session("SELECT pg_advisory_lock(%s)", KEY):
        assert records.is_locked(KEY, using="default")
    with session("SELECT pg_advisory_lock(%s)", KEY + 1):
        assert not records.is_locked(KEY, using="default"), "another number"
    with session("SELECT pg_advisory_lock(%s, %s)", signed(HIGH), signed(LOW)):
        assert not records.is_locked(KEY, using="default"), "two halves are another lock"
    with session("SELECT pg_advisory_lock_shared(%s)", KEY):
        assert not records.is_locked(KEY, using="default"), "a duplicate that waited for it"
    with session("SELECT pg_advisory_lock(%s)", KEY, dbname="postgres"):
        assert not records.is_locked(KEY, using="default"), "another database's"


@pytest.mark.django_db(transaction=True)
def test_who_waits_for_a_lock_does_not_hold_it() -> None:
    def wait() -> None:
        with connected() as other:
            other.execute("SELECT pg_advisory_lock(%s)", [KEY])

    with session("SELECT pg_advisory_lock_shared(%s)", KEY):
        waiter = threading.Thread(target=wait)
        waiter.start()
        until(_is_awaited)
        assert not records.is_locked(KEY, using="default")
    waiter.join()


def _is_awaited() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
        return bool(cursor.fetchone()[0])


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("threads", "seconds"), [(0, 5), (1, 0), (1, -1)])
def test_who_may_not_wait_is_refused_without_a_statement(
    threads: int, seconds: float, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.IDEMPOTENCY = {"WAITING_THREADS_MAX": threads}
    waits: list[int] = []

    def wait(lock: int, **_: object) -> bool:
        waits.append(lock)
        return True

    monkeypatch.setattr(waiting, "_wait_on_server", wait)

    with pytest.raises(KeyInUse):
        waiting.wait_for(KEY, seconds=seconds)

    assert waits == []


class Clock:
    """Stands in for `time`: a pause takes no time, but is counted."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A process that has not waited yet, and its clock."""
    clock = Clock()
    monkeypatch.setattr(waiting, "time", clock)
    monkeypatch.setattr(waiting, "_last_wait", 0.0)
    return clock


def test_a_wait_as_long_as_the_last_one_takes_few_polls_and_a_shorter_one_soon_too(
    clock: Clock,
) -> None:
    def wait(until: float) -> tuple[int, float]:
        """Return the polls of a wait for a condition that is true after a time, and its length."""
        started, polls = clock.now, []

        def is_true() -> bool:
            polls.append(clock.now)
            return clock.now >= started + until

        assert waiting.poll(is_true, seconds=2)
        return len(polls), clock.now - started

    first, _ = wait(0.1)
    second, took = wait(0.1)
    assert first > 2 * second
    assert took < 0.1 + waiting.POLL_SECONDS_MAX
    shorter = [wait(0.01)[1] for _ in range(12)]
    assert shorter[0] < 0.1
    assert shorter[-1] < 0.02


def test_a_poll_ends_with_its_time_however_long_the_last_one_took(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "_last_wait", 60.0)
    assert not waiting.poll(lambda: False, seconds=0.05)
    assert clock.now == pytest.approx(0.05)
