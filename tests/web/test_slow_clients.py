"""Clients that are slow, silent or speak half of HTTP, on a real server: they cost nobody else."""

import json
import re
import signal
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPResponse
from pathlib import Path
from uuid import uuid4

import pytest
import urllib3
from django.contrib.auth.models import User
from django.db import connection

from orders.models import Order, Product
from payments.models import Account
from tests.conftest import OPENING
from tests.support.api_tokens import api_token_of
from tests.support.live import Caller, LiveServer, descendants, sockets_of, until
from web.server.connection import HEAD_BYTES_MAX
from web.server.worker import LINGER_SECONDS

pytestmark = pytest.mark.django_db(transaction=True)

CLIENTS = 500
SOON = 5.0  # long for a pay, short beside what a slow client would take
SCRIPT = "/static/drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js"  # 1.5 MB
BEGINNINGS = {
    "silent": b"",
    "slow head": b"POST /api/v1/sign-in/ HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
    "slow body": b"POST /api/v1/sign-in/ HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: application/json\r\nContent-Length: 5000\r\n\r\n",
    # More than the kernel holds for it.
    "slow reader": f"GET {SCRIPT} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() * 8,
}
TRICKLES = frozenset({"slow head", "slow body"})


class SlowClient:
    """One connection that keeps its beginning and never comes to an end."""

    def __init__(self, server: LiveServer, kind: str) -> None:
        self.kind = kind
        self.socket = socket.socket()
        if kind == "slow reader":
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        self.socket.connect(("127.0.0.1", server.port))
        self.socket.sendall(BEGINNINGS[kind])
        self.socket.setblocking(False)

    def trickle(self) -> None:
        if self.kind in TRICKLES:
            self.socket.send(b"a")

    def is_open(self) -> bool:
        """Return True while the server has not ended the connection.

        What a reader does not read hides the end from it: `connections` counts those.
        """
        try:
            while self.kind != "slow reader" and self.socket.recv(4096):
                continue  # a response, such as 408
        except BlockingIOError:
            return True
        except OSError:
            return False
        return self.kind == "slow reader"


def connections(server: LiveServer) -> int:
    """Return how many sockets the server's processes hold, beside a few of their own."""
    return sum(sockets_of(pid) for pid in [server.process.pid, *descendants(server.process.pid)])


@contextmanager
def slow_clients(
    server: LiveServer, count: int = CLIENTS, kinds: Iterable[str] = BEGINNINGS
) -> Iterator[list[SlowClient]]:
    kinds = list(kinds)
    clients = [SlowClient(server, kind) for kind in kinds for _ in range(count // len(kinds))]
    try:
        yield clients
    finally:
        for client in clients:
            client.socket.close()


@contextmanager
def started(
    folder: Path, *options: str, workers: int = 2, threads: int = 16, **environment: str
) -> Iterator[LiveServer]:
    with LiveServer(
        database=connection.get_connection_params(),
        folder=folder,
        workers=workers,
        threads=threads,
        options=options,
        **environment,
    ) as server:
        yield server


def responds(server: LiveServer, *, times: int = 1, seconds: float = SOON) -> bool:
    """Return True if the server responds in time to each of a client's requests."""
    with urllib3.PoolManager(timeout=seconds, retries=False) as client:
        try:
            for _ in range(times):
                assert client.request("GET", f"{server.url}/healthz").status == 200
        except urllib3.exceptions.TimeoutError:
            return False
    return True


def open_ones(clients: list[SlowClient]) -> int:
    return sum(client.is_open() for client in clients)


def test_five_hundred_slow_clients_keep_nobody_waiting_and_are_ended(
    tmp_path: Path, alice: User, alice_account: Account, place: Callable[..., Order]
) -> None:
    orders = [place(customer=alice, quantity=1) for _ in range(20)]
    with started(tmp_path, WEB_CLIENT_SECONDS="6") as server, slow_clients(server) as clients:
        caller = Caller(server.url, api_token_of(alice), timeout=SOON)
        until(lambda: connections(server) > CLIENTS / 2, what="they are connected")
        statuses = []
        for order in orders:
            body = {"account": alice_account.pk}
            path = f"/api/v1/orders/{order.pk}/pay/"
            statuses.append(caller.post(path, body, key=uuid4().hex).status)

        def are_ended() -> bool:
            for client in clients:
                with suppress(OSError):
                    client.trickle()
            return connections(server) < CLIENTS / 10

        until(are_ended, seconds=60, what="every slow client is ended")
        assert open_ones([each for each in clients if each.kind != "slow reader"]) == 0

    assert statuses == [200] * len(orders)
    paid = sum(order.amount for order in orders)
    assert Account.objects.get(pk=alice_account.pk).balance == OPENING - paid


def test_as_many_as_there_are_threads_stop_gunicorns_own_worker(tmp_path: Path) -> None:
    own = ("--worker-class", "gthread")
    with started(tmp_path, *own, workers=1, threads=2) as server:
        for kind in BEGINNINGS:
            with slow_clients(server, 8, [kind]):
                assert not responds(server, times=100, seconds=1.5)
            until(lambda: responds(server, seconds=1), what=f"after {kind} it goes on")


def test_they_do_not_stop_ours(tmp_path: Path) -> None:
    with started(tmp_path, workers=1, threads=2) as server:
        for kind in BEGINNINGS:
            with slow_clients(server, 8, [kind]) as clients:
                assert responds(server, times=100)
                assert open_ones(clients) == 8


def test_where_there_is_no_room_the_longest_wait_ends(tmp_path: Path) -> None:
    with (
        started(tmp_path, "--worker-connections", "40", workers=1) as server,
        slow_clients(server, 100, ["silent"]) as clients,
    ):
        assert responds(server)
        assert open_ones(clients[:61]) == 0
        assert open_ones(clients[-30:]) == 30


def test_a_server_that_is_to_stop_does_not_wait_for_slow_clients(tmp_path: Path) -> None:
    with (
        started(tmp_path, WEB_CLIENT_SECONDS="600") as server,
        slow_clients(server, 40, ["slow head"]) as clients,
    ):
        assert responds(server)
        assert open_ones(clients) == 40
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(25)  # gunicorn would give them its graceful_timeout, 35 s


# --- What a server has to understand


class Raw:
    """A connection on which any bytes can be sent."""

    def __init__(self, server: LiveServer) -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=30)

    def send(self, *parts: bytes) -> None:
        for part in parts:
            self.socket.sendall(part)

    def response(self) -> tuple[int, dict[str, str], bytes]:
        """Read one response: its status, headers and body."""
        response = HTTPResponse(self.socket)
        response.begin()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return response.status, headers, response.read()

    def is_closed(self) -> bool:
        return self.socket.recv(1) == b""


@pytest.fixture
def raw(server: LiveServer) -> Iterator[Raw]:
    client = Raw(server)
    with client.socket:
        yield client


def get(path: str, *headers: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode()


def sign_in(body: bytes, *headers: str) -> bytes:
    lines = ["POST /api/v1/sign-in/ HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


NOBODY = b'{"username": "nobody", "password": "wrong"}'


def test_a_request_in_pieces_is_one_request(raw: Raw) -> None:
    raw.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    whole = sign_in(NOBODY, f"Content-Length: {len(NOBODY)}")
    raw.send(*(whole[at : at + 7] for at in range(0, len(whole), 7)))
    assert raw.response()[0] == 401


def test_a_connection_serves_one_request_after_another(raw: Raw) -> None:
    for _ in range(3):
        raw.send(get("/healthz"))
        status, headers, body = raw.response()
        assert (status, headers["connection"]) == (200, "keep-alive")
        assert json.loads(body) == {"status": "ok"}


def test_pipelined_requests_are_responded_to_in_order(raw: Raw) -> None:
    sent = sign_in(NOBODY, f"Content-Length: {len(NOBODY)}")
    raw.send(get("/healthz") + sent + get("/nothing-here/") + get("/healthz", "Connection: close"))
    everything = raw.socket.makefile("rb").read()
    statuses = re.findall(rb"HTTP/1.1 (\d+)", everything)
    assert statuses == [b"200", b"401", b"404", b"200"]


def test_a_client_that_asks_whether_to_send_its_body_may(raw: Raw) -> None:
    raw.send(sign_in(b"", f"Content-Length: {len(NOBODY)}", "Expect: 100-continue"))
    assert raw.socket.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
    raw.send(NOBODY)
    assert raw.response()[0] == 401


def test_a_client_that_asks_whether_to_send_too_much_may_not(raw: Raw) -> None:
    raw.send(sign_in(b"", "Content-Length: 100000", "Expect: 100-continue"))
    status, headers, _ = raw.response()
    assert (status, headers["connection"]) == (413, "close")


@pytest.mark.parametrize(
    ("header", "body", "status"),
    [
        ("Content-Length: 3000000", b"x" * 3_000_000, 413),
        ("Transfer-Encoding: chunked", b"5\r\nhello\r\n" * 20_000 + b"0\r\n\r\n", 411),
    ],
)
def test_a_client_that_sends_a_refused_body_first_still_gets_the_response(
    raw: Raw, header: str, body: bytes, status: int
) -> None:
    raw.send(sign_in(body, header))
    responded, headers, _ = raw.response()
    assert (responded, headers["connection"]) == (status, "close")
    assert headers["content-type"] == "application/problem+json"
    assert raw.is_closed()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"NONSENSE\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: rot13\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nExpect: miracles\r\n\r\n", 417),
        (b"GET /" + b"a" * 5_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 9_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * (HEAD_BYTES_MAX + 1), 431),
    ],
)
def test_what_is_not_http_gets_a_problem_and_the_connection_closes(
    raw: Raw, sent: bytes, status: int
) -> None:
    raw.send(sent)
    responded, headers, body = raw.response()
    assert (responded, headers["content-type"]) == (status, "application/problem+json")
    assert headers["cache-control"] == "private, no-store"
    assert (json.loads(body)["status"], json.loads(body)["outcome"]) == (status, "none")
    assert raw.is_closed()


def test_a_request_that_does_not_arrive_in_time_gets_408(tmp_path: Path) -> None:
    with started(tmp_path, workers=1, WEB_CLIENT_SECONDS="1") as server:
        raw = Raw(server)
        with raw.socket:
            raw.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
            status, headers, body = raw.response()
            assert (status, headers["connection"]) == (408, "close")
            assert json.loads(body)["outcome"] == "none"
            assert raw.is_closed()


@pytest.mark.parametrize("name", ["SCRIPT_NAME", "SCRIPT-NAME", "PATH_INFO", "X-Script-Name"])
def test_no_header_changes_path_or_prefix(raw: Raw, name: str) -> None:
    raw.send(get("/metrics", f"{name}: /metrics"))
    assert raw.response()[0] == 200
    raw.send(get("/api/v1/nothing/", f"{name}: /api"))
    status, headers, _ = raw.response()
    assert (status, headers["content-type"]) == (404, "application/problem+json")


def test_a_forwarded_scheme_of_a_clients_is_not_believed(raw: Raw, product: Product) -> None:
    Product.objects.create(sku="POT", name="Teapot", price=900, currency="EUR")
    forwarded = ("X-Forwarded-Proto: https", "X-Forwarded-Ssl: on")
    raw.send(get("/api/v1/products/?page_size=1", *forwarded))
    _, _, body = raw.response()
    assert json.loads(body)["next"].startswith("http://")


def test_a_client_that_has_sent_all_and_closed_its_side_gets_its_response(raw: Raw) -> None:
    raw.send(get("/healthz", "Connection: close"))
    raw.socket.shutdown(socket.SHUT_WR)
    assert raw.response()[0] == 200


def test_a_large_response_arrives_whole_however_late_it_is_read(raw: Raw) -> None:
    raw.send(get(SCRIPT, "Connection: close"))
    time.sleep(0.5)  # the server has to keep the rest meanwhile
    status, headers, body = raw.response()
    assert status == 200
    assert len(body) == int(headers["content-length"]) > 1_000_000
    assert raw.is_closed()


def test_lingering_ends_too(raw: Raw) -> None:
    raw.send(sign_in(b"", "Content-Length: 100000"))
    assert raw.response()[0] == 413
    until(lambda: _reset(raw), seconds=LINGER_SECONDS + 30, what="the server closes")


def _reset(raw: Raw) -> bool:
    try:
        raw.send(b"x")
    except OSError:
        return True
    return False
