"""The worker's main loop, without a server: what it holds for its clients is bounded."""

import gc
import resource
import selectors
import socket
import time
from collections import deque
from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock

import pytest
from django.db.backends.signals import connection_created
from gunicorn.config import Config
from gunicorn.util import close_graceful
from gunicorn.workers import base

from web.server import waiting as module
from web.server.connection import Connection
from web.server.duplicates import Duplicates
from web.server.warm import connect_for_long
from web.server.worker import BufferingWorker, with_room_for

GET = b"GET / HTTP/1.1\r\n\r\n"
SECONDS = 20
Pair = tuple[Connection, socket.socket]


class Worker(BufferingWorker):
    """A worker that starts nothing: its loop's parts are called by the test."""

    def __init__(self) -> None:
        self.cfg = Config()
        self.alive = True
        self.nr_conns = 0
        self.place, self.patient_until, self._accepting = None, None, False
        self.polled = {}
        self.next_sweep = 0.0
        self.tmp = Mock()
        self.poller = selectors.DefaultSelector()
        self.duplicates = Duplicates(at_once_max=2)
        self.method_queue = Mock()
        self.finished = deque()
        self.submitted: list[Connection] = []

    def enqueue_req(self, conn: Connection) -> None:
        self.submitted.append(conn)

    def connect(self) -> Pair:
        """Return a connection that waits for its request, and the client's end."""
        ours, clients = socket.socketpair()
        clients.settimeout(SECONDS)
        conn = Connection(self.cfg, ours, ("127.0.0.1", 1), ("127.0.0.1", 2))
        self.nr_conns += 1
        self._poll(conn, self._receive, 60)
        return conn, clients

    def turn(self) -> None:
        self.wait_for_and_dispatch_events(0)


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker()
    yield worker
    for conn in list(worker.polled):
        worker._drop(conn)
    worker.poller.close()


@pytest.mark.parametrize(
    ("soft", "hard", "limit", "room"),
    [
        (256, resource.RLIM_INFINITY, 1512, 1000),
        (1024, 20_000, 1512, 1000),
        (20_000, 20_000, 20_000, 1000),
        (256, 1024, 1024, 512),
        (256, 512, 512, 256),
    ],
)
def test_there_are_never_more_connections_than_files_to_open(
    soft: int, hard: int, limit: int, room: int, monkeypatch: Any
) -> None:
    limits = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, chosen: limits.append(chosen))
    assert with_room_for(1000) == room
    assert limits == [(limit, hard)]


def test_the_garbage_collector_leaves_alone_what_the_application_has_loaded(
    worker: Worker, monkeypatch: Any
) -> None:
    loaded: list[Any] = []
    monkeypatch.setattr(base.Worker, "load_wsgi", lambda _: loaded.append([]))
    worker.load_wsgi()
    try:
        assert not any(each is loaded[0] for each in gc.get_objects())
    finally:
        gc.unfreeze()
        connection_created.disconnect(connect_for_long)


def test_what_clients_do_not_read_is_bounded_and_the_longest_wait_goes(
    worker: Worker, monkeypatch: Any
) -> None:
    monkeypatch.setattr(module, "UNSENT_BYTES_MAX", 25)
    pairs = [worker.connect() for _ in range(4)]
    for conn, _ in pairs[1:]:  # the first has nothing to read
        conn.sock.unsent += b"x" * 10

    worker.murder_keepalived()

    assert list(worker.polled) == [pairs[0][0], pairs[2][0], pairs[3][0]]
    assert worker.nr_conns == 3
    for _, client in pairs:
        client.close()


def test_a_connection_that_was_ended_in_the_same_turn_is_not_ended_twice(worker: Worker) -> None:
    pairs = [worker.connect() for _ in range(2)]
    for _, client in pairs:
        client.close()  # both are readable in one turn, and the first to be seen ends the other
    original = worker._receive

    def end_all(conn: Connection) -> None:
        for each in list(worker.polled):
            if each is not conn:
                worker._drop(each)
        original(conn)

    for conn, _ in pairs:
        worker.polled.pop(conn)
        worker._poll(conn, end_all, 60)
    worker.turn()

    assert worker.nr_conns == 0
    assert not worker.polled


def test_a_request_is_handed_over_once_and_only_as_a_whole(worker: Worker) -> None:
    conn, client = worker.connect()
    with client:
        for part in (b"POST / HTTP/1.1\r\nContent-Length: 2\r\n", b"\r\n", b"a"):
            client.sendall(part)
            worker.turn()
            assert worker.submitted == []
        client.sendall(b"b")
        worker.turn()
        client.sendall(GET)  # the next one waits for its response
        worker.turn()
        assert worker.submitted == [conn]
        assert bytes(conn.sock.received).endswith(b"\r\n\r\nab")
        conn.close()


@pytest.fixture
def handled(worker: Worker) -> Iterator[Pair]:
    """A connection whose request a thread has read, and not handed back."""
    conn, client = worker.connect()
    with client:
        client.sendall(GET)
        worker.turn()
        assert worker.submitted == [conn]
        del conn.sock.received[:]
        yield conn, client
        conn.close()


def test_a_finished_request_wakes_nobody_and_is_finished_before_the_next_one(
    worker: Worker, handled: Pair
) -> None:
    conn, client = handled
    worker._hand_back(conn)
    worker.turn()
    assert not worker.method_queue.defer.called
    assert conn not in worker.polled
    client.sendall(GET)
    worker.turn()
    assert worker.submitted == [conn, conn]
    assert not worker.finished


@pytest.mark.parametrize("what", ["closes", "unsent", "received"])
def test_what_a_finished_request_leaves_to_do_is_done_at_once(
    what: str, worker: Worker, handled: Pair
) -> None:
    conn, _ = handled
    if what == "closes":
        conn.closes = True
    else:
        getattr(conn.sock, what).extend(b"x")
    worker._hand_back(conn)
    worker.method_queue.defer.assert_called_once_with(worker._finish_requests)
    conn.sock.unsent.clear()


def test_a_client_that_sends_more_meanwhile_is_not_forgotten(worker: Worker, handled: Pair) -> None:
    conn, client = handled
    client.sendall(GET)
    worker.turn()
    assert not worker.poller.select(0), "no turn is spent on it before its request is finished"
    worker._hand_back(conn)
    worker.method_queue.defer.assert_called_once_with(worker._finish_requests)
    worker._finish_requests()
    worker.turn()
    assert worker.submitted == [conn, conn]


def test_a_request_that_is_finished_while_its_client_sends_more_is_not_forgotten(
    worker: Worker, handled: Pair, monkeypatch: Any
) -> None:
    conn, client = handled
    unregister = worker.poller.unregister

    def finished_by_then(fileobj: Any) -> None:
        worker._hand_back(conn)
        unregister(fileobj)

    monkeypatch.setattr(worker.poller, "unregister", finished_by_then)
    client.sendall(GET)
    worker.turn()
    assert not worker.method_queue.defer.called, "the thread found it polled"
    monkeypatch.undo()
    worker.turn()
    assert worker.submitted == [conn, conn]


def test_a_finished_request_s_connection_is_kept_from_the_next_sweep_on(
    worker: Worker, handled: Pair
) -> None:
    conn, _ = handled
    worker._hand_back(conn)
    worker.murder_keepalived()
    assert list(worker.polled) == [conn]


def test_a_finished_request_s_connection_gives_way_where_there_is_no_room(
    worker: Worker, handled: Pair
) -> None:
    conn, client = handled
    worker.worker_connections = 2
    worker._hand_back(conn)
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()),
    ):
        worker.accept(listener)
    assert client.recv(1) == b""
    assert worker.nr_conns == len(worker.polled) == 1


def test_where_a_request_fails_in_the_thread_its_connection_closes(
    worker: Worker, handled: Pair, monkeypatch: Any
) -> None:
    conn, _ = handled
    monkeypatch.setattr(worker, "handle", Mock(side_effect=SystemExit))
    with pytest.raises(SystemExit):
        worker._handle(conn)
    assert conn.closes


def test_a_thread_ends_no_connection_that_the_main_loop_polls(handled: Pair) -> None:
    conn, client = handled
    close_graceful(conn.sock)  # gunicorn does, where the application fails within a response
    assert conn.sock.client.fileno() >= 0
    assert client.recv(1) == b"", "but its client sees the end"


def test_a_requests_time_begins_with_its_first_byte(worker: Worker) -> None:
    conn, client = worker.connect()
    with client:
        conn.deadline = soon = time.monotonic() + 1  # of a connection that was kept
        client.sendall(b"G")
        worker.turn()
        first = conn.deadline
        assert first > soon
        client.sendall(b"E")
        worker.turn()
        assert conn.deadline == first  # and no byte gives it more


def test_a_thread_is_never_blocked_by_a_client(worker: Worker) -> None:
    conn, client = worker.connect()
    with client:
        conn.sock.setblocking(True)  # as gunicorn does
        conn.sock.settimeout(1)
        assert conn.sock.recv(100) == b""
        conn.sock.sendall(b"x" * 10_000_000)
        assert len(conn.sock.unsent) > 1_000_000


def test_a_response_s_head_leaves_with_its_body_or_in_the_end(worker: Worker) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
    conn, client = worker.connect()
    with client:
        client.setblocking(False)
        conn.sock.sendall(head)
        with pytest.raises(BlockingIOError):
            client.recv(100)
        conn.sock.sendall(b"{}")
        assert client.recv(100) == head + b"{}"
        assert conn.sock.is_final

        conn.sock.sendall(head)  # as to HEAD
        worker._send(conn)
        assert client.recv(100) == head


def test_the_arbiter_is_notified_by_each_sweep_and_not_in_each_turn(worker: Worker) -> None:
    for swept in (1, 2):
        worker.next_sweep = 0.0
        for _ in range(5):
            worker.notify()
            worker.murder_keepalived()
        assert worker.tmp.notify.call_count == swept


def test_a_client_that_sends_on_without_waiting_is_refused_once_and_closed(worker: Worker) -> None:
    worker.duplicates = Duplicates(at_once_max=0)
    one = b"POST / HTTP/1.1\r\nAuthorization: Token a\r\nIdempotency-Key: k\r\n\r\n"
    _, client = worker.connect()
    with client:
        client.sendall(one * 500)
        worker.turn()
        response = client.recv(65536)
        assert response.count(b"HTTP/1.1 409 ") == 1
        assert b"\r\nConnection: close\r\n" in response
        assert client.recv(1) == b""
    assert worker.submitted == []
