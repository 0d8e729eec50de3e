"""What a client gave up on is cancelled in the database, not read to its end."""

import socket
import threading
from collections.abc import Iterator

import psycopg
import pytest
from django.db import OperationalError, connection
from django.http import HttpRequest
from django.test import Client, RequestFactory
from django.urls import reverse

from operations import audit
from operations.dashboard import check
from tests.support.live import until
from web.given_up import cancelled_when_given_up

SLEEP = "SELECT pg_sleep(600)"
BY_REQUEST = "canceling statement due to user request"


@pytest.fixture
def client_socket() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A connection: the server's end, and its client's."""
    ours, its = socket.socketpair()
    with ours, its:
        yield ours, its


@pytest.fixture
def request_of(client_socket: tuple[socket.socket, socket.socket]) -> HttpRequest:
    return RequestFactory().get("/", **{"gunicorn.socket": client_socket[0]})  # type: ignore[arg-type]


def close_during_a_statement(client: socket.socket) -> threading.Thread:
    """Have the client go once this process's session sleeps."""
    parameters = connection.get_connection_params()
    connection.ensure_connection()
    pid = connection.connection.info.backend_pid
    sleeps = "SELECT FROM pg_stat_activity WHERE pid = %s AND wait_event = 'PgSleep'"

    def watch() -> None:
        with psycopg.connect(
            **{key: parameters[key] for key in ("host", "port", "user", "password", "dbname")},
            autocommit=True,
        ) as other:
            until(lambda: other.execute(sleeps, [pid]).fetchone() is not None)
        client.close()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


@pytest.mark.django_db(transaction=True)
def test_a_statement_ends_when_its_client_does(
    request_of: HttpRequest, client_socket: tuple[socket.socket, socket.socket]
) -> None:
    closing = close_during_a_statement(client_socket[1])
    with pytest.raises(OperationalError, match=BY_REQUEST):  # noqa: SIM117
        with cancelled_when_given_up(request_of) as gone, connection.cursor() as cursor:
            cursor.execute(SLEEP)
    closing.join()
    assert gone.is_set()
    assert connection.connection is None  # no later statement meets a late cancellation


@pytest.mark.django_db(transaction=True)
def test_who_waits_is_not_cancelled_nor_is_who_sends_another_request(
    request_of: HttpRequest, client_socket: tuple[socket.socket, socket.socket]
) -> None:
    connection.ensure_connection()
    session = connection.connection
    client_socket[1].sendall(b"GET / HTTP/1.1\r\n")
    with cancelled_when_given_up(request_of) as gone, connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(0.2)")
    assert not gone.is_set()
    assert connection.connection is session


@pytest.mark.django_db(transaction=True)
def test_a_check_on_the_dashboard_ends_with_its_client(
    admin_client: Client,
    client_socket: tuple[socket.socket, socket.socket],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(audit, "RULES", ((1, "a rule that takes long", SLEEP),))
    monkeypatch.setattr(check, "reconcile", lambda **_: pytest.fail("nobody waits for this"))
    closing = close_during_a_statement(client_socket[1])
    page = f"{reverse('admin:dashboard')}?check=1"
    response = admin_client.get(page, **{"gunicorn.socket": client_socket[0]})  # type: ignore[arg-type]
    closing.join()
    assert BY_REQUEST in response.text
