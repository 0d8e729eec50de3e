"""The deadlines of the engine `web.database`, on the test database and without one."""

import socket
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.db import OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext
from psycopg.errors import ConnectionTimeout

from idempotency.database_errors import is_repeatable, is_temporary
from operations import audit
from operations.reconciliation import sides
from web.database import base, deadlines
from web.database.deadlines import Breaker, Connection, NoResponse, responding_within

SECONDS = 0.3


@pytest.fixture
def deadline(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give this process a deadline, as a web server has one, and a breaker of its own."""
    monkeypatch.setattr(base.DatabaseWrapper, "_breakers", {"default": Breaker()})
    deadlines.expect_responses(within_seconds=SECONDS)
    connection.close()
    yield
    deadlines.expect_responses(within_seconds=0)
    connection.close()


@pytest.fixture
def silent() -> Iterator[dict[str, Any]]:
    """The address of a server that accepts connections and sends nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
        yield {"host": host, "port": port, "connect_timeout": 2}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr("web.database.deadlines.time.monotonic", lambda: now[0])
    return now


def sleep(seconds: float) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(%s)", [seconds])


@pytest.mark.django_db(transaction=True)
def test_a_statement_without_a_response_ends_at_the_deadline_and_its_session_with_it(
    deadline: None,
) -> None:
    started = time.monotonic()
    with pytest.raises(OperationalError, match=r"did not respond within 0\.3 s") as raised:
        sleep(30)
    assert SECONDS <= time.monotonic() - started < 10
    assert connection.connection.closed
    connection.close()
    with pytest.raises(OperationalError, match="a moment ago"):
        connection.ensure_connection()
    assert is_temporary(raised.value)
    assert not is_repeatable(raised.value)


@pytest.mark.django_db(transaction=True)
def test_a_log_of_statements_does_not_hide_why_a_session_is_lost(deadline: None) -> None:
    with (
        CaptureQueriesContext(connection) as captured,  # as DEBUG does
        pytest.raises(OperationalError, match="did not respond"),
    ):
        sleep(30)
    assert "pg_sleep" in captured.captured_queries[-1]["sql"]


@pytest.mark.django_db(transaction=True)
def test_a_transaction_without_a_response_is_over_on_the_server_too(deadline: None) -> None:
    other = connection.copy()
    with other.cursor() as cursor, responding_within(other.connection, 30):
        cursor.execute("CREATE TABLE deadline (id int)")
        with pytest.raises(OperationalError, match="did not respond"):
            lock_and_sleep()
        cursor.execute("SET lock_timeout = '20s'; DROP TABLE deadline")  # waits for that lock
    other.close()


@transaction.atomic
def lock_and_sleep() -> None:
    with connection.cursor() as cursor:
        cursor.execute("LOCK TABLE deadline; SELECT pg_sleep(1)")


@pytest.mark.django_db(transaction=True)
def test_a_commit_without_a_response_ends_at_the_deadline_too(deadline: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TEMPORARY TABLE slow (id int);"
            " CREATE FUNCTION pg_temp.wait() RETURNS trigger LANGUAGE plpgsql"
            " AS 'BEGIN PERFORM pg_sleep(30); RETURN NULL; END';"
            " CREATE CONSTRAINT TRIGGER slowly AFTER INSERT ON slow"
            " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION pg_temp.wait()"
        )
    with pytest.raises(OperationalError, match="did not respond"):
        insert()


@transaction.atomic
def insert() -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO slow VALUES (1)")


@pytest.mark.django_db(transaction=True)
def test_a_block_that_reads_everything_may_take_longer(deadline: None) -> None:
    connection.ensure_connection()
    with responding_within(connection.connection, 30):
        sleep(3 * SECONDS)
    with pytest.raises(OperationalError, match="did not respond"):
        sleep(30)


@pytest.mark.django_db(transaction=True)
def test_a_process_without_a_deadline_waits_as_django_does() -> None:
    connection.close()
    connection.ensure_connection()
    assert connection.connection.response_seconds is None
    with responding_within(connection.connection, 0.1):
        sleep(0.5)
    assert connection.is_usable()


@pytest.mark.django_db(transaction=True)
def test_a_connection_whose_transaction_failed_is_not_usable_until_it_is_rolled_back(
    deadline: None,
) -> None:
    connection.ensure_connection()
    connection.connection.execute("BEGIN")
    with pytest.raises(psycopg.errors.UndefinedTable):
        connection.connection.execute("SELECT FROM no_such_table")
    assert not connection.is_usable()
    connection.connection.execute("ROLLBACK")
    assert connection.is_usable()


@pytest.mark.django_db(transaction=True)
def test_after_a_silence_a_kept_connection_is_not_even_asked(deadline: None) -> None:
    connection.ensure_connection()
    assert connection.is_usable()
    connection.connection.breaker.trip()
    assert not connection.is_usable()
    connection.close()
    with pytest.raises(OperationalError, match="a moment ago"):
        connection.ensure_connection()


@pytest.mark.django_db(transaction=True)
def test_a_connection_that_was_closed_says_nothing_about_the_server(
    deadline: None, clock: list[float]
) -> None:
    connection.ensure_connection()
    session = connection.connection
    session.breaker.trip()
    session.pgconn.finish()
    clock[0] += deadlines.PAUSE_SECONDS
    assert not connection.is_usable()
    first, second = (session.breaker.attempt(seconds=2) for _ in range(2))
    with first, pytest.raises(NoResponse), second:
        pytest.fail("the server's silence is not over")


@pytest.mark.django_db(transaction=True)
def test_the_checks_that_read_everything_have_a_deadline_of_their_own(
    deadline: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_audit: list[float] = []
    monkeypatch.setattr(
        audit, "count_breaches", lambda _: of_audit.append(connection.connection.response_seconds)
    )
    audit.check_invariants()
    with sides.connected(sides.find_side(name="orders", url=None)) as side:
        of_side = side.connection.response_seconds  # type: ignore[attr-defined]

    assert {*of_audit, of_side} == {deadlines.LONG_RESPONSE_SECONDS}
    assert connection.connection.response_seconds == SECONDS


@pytest.fixture
def round_trips(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Each wait for a response of the server's, in any session."""
    waits: list[None] = []
    wait = Connection.wait

    def counted(session: Connection[Any], *arguments: Any) -> Any:
        waits.append(None)
        return wait(session, *arguments)

    monkeypatch.setattr(Connection, "wait", counted)
    return waits


@pytest.mark.django_db(transaction=True)
def test_a_kept_connection_is_looked_at_without_a_round_trip(
    deadline: None, round_trips: list[None]
) -> None:
    connection.ensure_connection()
    round_trips.clear()
    assert connection.is_usable()
    assert round_trips == []


@pytest.mark.django_db(transaction=True)
def test_a_session_that_the_server_has_ended_is_not_usable(
    deadline: None, round_trips: list[None]
) -> None:
    connection.ensure_connection()
    other = connection.copy()
    with other.cursor() as cursor, responding_within(other.connection, 30):
        cursor.execute(
            "SELECT pg_terminate_backend(%s, 20000)", [connection.connection.info.backend_pid]
        )
    other.close()
    round_trips.clear()
    assert not connection.is_usable()
    assert round_trips == []


@pytest.mark.django_db(transaction=True)
def test_only_the_next_statement_of_a_kept_connection_has_the_patience_of_a_new_one(
    deadline: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "connect_timeout", 0.2)
    deadlines.expect_responses(within_seconds=60)
    connection.close()
    connection.ensure_connection()

    assert connection.is_usable()
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    sleep(0.5)
    assert connection.is_usable()
    with pytest.raises(OperationalError, match=r"did not respond within 0\.2 s"):
        sleep(30)


@pytest.mark.django_db(transaction=True)
def test_after_a_silence_a_kept_connection_is_asked_with_the_patience_of_a_new_one(
    deadline: None, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float | None] = []

    def wait(session: Connection[Any], *arguments: Any) -> Any:
        asked.append(session.response_seconds)
        raise NoResponse

    connection.ensure_connection()
    connection.connection.breaker.trip()
    clock[0] += deadlines.PAUSE_SECONDS
    monkeypatch.setattr(Connection, "wait", wait)
    assert not connection.is_usable()
    assert asked == [connection.settings_dict["OPTIONS"]["connect_timeout"]]


def test_a_server_that_is_silent_from_the_start_is_a_timeout(silent: dict[str, Any]) -> None:
    breaker = Breaker()
    with pytest.raises(ConnectionTimeout), breaker.attempt(seconds=2):
        Connection.connect(**silent)
    with pytest.raises(NoResponse, match="a moment ago"), breaker.attempt(seconds=2):
        pytest.fail("it is not asked")


def test_after_a_moment_one_thread_tries_while_the_others_fail_at_once(clock: list[float]) -> None:
    breaker = Breaker()
    breaker.trip()
    clock[0] += deadlines.PAUSE_SECONDS
    with breaker.attempt(seconds=2), pytest.raises(NoResponse), breaker.attempt(seconds=2):
        pytest.fail("it waits beside the first")
    with breaker.attempt(seconds=2), breaker.attempt(seconds=2):
        pass  # all try, for the first had a response


def test_a_thread_that_tries_for_ever_does_not_keep_the_others_from_it(clock: list[float]) -> None:
    breaker = Breaker()
    breaker.trip()
    clock[0] += deadlines.PAUSE_SECONDS
    with breaker.attempt(seconds=2):
        clock[0] += 2
        with breaker.attempt(seconds=2):
            pass


def test_a_refused_connection_is_a_response(clock: list[float]) -> None:
    breaker = Breaker()
    breaker.trip()
    clock[0] += deadlines.PAUSE_SECONDS
    with pytest.raises(psycopg.OperationalError), breaker.attempt(seconds=2):
        raise psycopg.OperationalError("connection refused")
    with breaker.attempt(seconds=2), breaker.attempt(seconds=2):
        pass
