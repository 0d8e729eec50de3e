"""The chaos proxy breaks requests as its rules demand, and counts what it broke."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import urllib3
from urllib3.exceptions import ProtocolError, ReadTimeoutError

from simulator.chaos import LOSSES, ChaosProxy, Fault
from tests.support.live import free_port, until

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_SECONDS = 20


class Till(BaseHTTPRequestHandler):
    """Gives every request a receipt, in one of the forms that HTTP has."""

    protocol_version = "HTTP/1.1"
    server: "TillServer"

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            super().handle()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        number = self.server.serve(f"{self.command} {self.path} {body.decode()}".strip())
        if self.path == "/second-waits" and number == 2:
            assert self.server.first_is_over.wait(TIMEOUT_SECONDS)
        self._respond(b"receipt %d " % number + b"x" * self.server.padding)
        self.server.connection_of[number] = self.connection

    def do_GET(self) -> None:
        self.do_POST()

    def do_HEAD(self) -> None:
        self.do_POST()

    def _respond(self, receipt: bytes) -> None:
        if self.path == "/interim":
            self.send_response_only(100)
            self.end_headers()
        self.send_response(204 if self.path == "/nothing" else 200)
        if self.path == "/chunked":
            receipt = b"%x;a=b\r\n%s\r\n0\r\n\r\n" % (len(receipt), receipt)
            self.send_header("Transfer-Encoding", "chunked")
        elif self.path == "/until-the-end":
            self.close_connection = True
        elif self.path != "/nothing":
            self.send_header("content-length", str(len(receipt)))
        self.end_headers()
        if self.path != "/nothing" and self.command != "HEAD":
            self.wfile.write(receipt)

    def finish(self) -> None:
        super().finish()
        if self.connection is self.server.connection_of.get(1):
            self.server.first_is_over.set()

    def log_message(self, *_: object) -> None:
        pass


class TillServer(ThreadingHTTPServer):
    """Records the requests that it gets."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Till)
        self.address = ("127.0.0.1", self.server_port)
        self.served: list[str] = []
        self.padding = 0
        self.connection_of: dict[int, object] = {}
        self.first_is_over = threading.Event()
        self._lock = threading.Lock()

    def serve(self, request: str) -> int:
        with self._lock:
            self.served.append(request)
            return len(self.served)


@pytest.fixture
def till() -> Iterator[TillServer]:
    with TillServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def proxy(till: TillServer) -> Iterator[ChaosProxy]:
    with ChaosProxy(till.address) as proxy:
        yield proxy


@contextmanager
def client_of(url: str) -> Iterator[urllib3.HTTPConnectionPool]:
    """A client with one connection, which it keeps and uses for one request after another."""
    with urllib3.connection_from_url(
        url, maxsize=1, block=True, retries=False, timeout=TIMEOUT_SECONDS
    ) as pool:
        yield pool


@pytest.fixture
def client(proxy: ChaosProxy) -> Iterator[urllib3.HTTPConnectionPool]:
    with client_of(proxy.url) as pool:
        yield pool


def pay(client: urllib3.HTTPConnectionPool, body: str = "", path: str = "/pay") -> str:
    return client.request("POST", path, body=body).data.decode().strip()


def receive_by_hand(proxy: ChaosProxy, path: str = "/pay") -> tuple[bytes, bool]:
    """Send a request and return all bytes of the response, and whether a reset ended them."""
    received = b""
    with socket.create_connection(("127.0.0.1", proxy.port), TIMEOUT_SECONDS) as end:
        end.sendall(b"POST %s HTTP/1.1\r\nContent-Length: 2\r\n\r\n42" % path.encode())
        try:
            while chunk := end.recv(65536):
                received += chunk
        except ConnectionResetError:
            return received, True
        return received, False


def test_a_dropped_request_never_reaches_the_server_and_the_client_is_reset(
    till: TillServer, proxy: ChaosProxy, client: urllib3.HTTPConnectionPool
) -> None:
    proxy.arm("drop-request", times=2)

    with pytest.raises(ProtocolError) as caught:
        pay(client)

    assert isinstance(caught.value.args[1], ConnectionResetError)
    assert receive_by_hand(proxy) == (b"", True)
    assert till.served == []
    assert proxy.happened == {"drop-request": 2}
    assert pay(client) == "receipt 1"


def test_a_cut_response_is_work_done_and_not_one_byte_of_it_returned(
    till: TillServer, proxy: ChaosProxy, client: urllib3.HTTPConnectionPool
) -> None:
    proxy.arm("cut-response", times=2)

    with pytest.raises(ProtocolError) as caught:
        pay(client, "5")

    assert isinstance(caught.value.args[1], ConnectionResetError)
    assert receive_by_hand(proxy) == (b"", True)
    assert till.served == ["POST /pay 5", "POST /pay 42"]
    assert proxy.happened == {"cut-response": 2}
    assert pay(client) == "receipt 3"


def test_a_response_cut_halfway_is_half_of_its_bytes_and_a_reset(
    till: TillServer, proxy: ChaosProxy, client: urllib3.HTTPConnectionPool
) -> None:
    till.padding = 1000
    whole, reset = receive_by_hand(proxy, "/until-the-end")
    assert not reset
    proxy.arm("cut-halfway", times=2)

    with pytest.raises(ProtocolError):
        pay(client, "5")
    half, reset = receive_by_hand(proxy, "/until-the-end")

    assert reset
    assert half.startswith(b"HTTP/1.1 200 OK\r\n")
    assert len(half) == len(whole) // 2
    assert till.served[1:] == ["POST /pay 5", "POST /until-the-end 42"]
    assert proxy.happened == {"cut-halfway": 2}


def test_a_hanging_response_is_work_done_and_silence_until_the_client_gives_up(
    till: TillServer, proxy: ChaosProxy, client: urllib3.HTTPConnectionPool
) -> None:
    proxy.arm("hang")

    with pytest.raises(ReadTimeoutError):
        client.request("POST", "/pay", body="5", timeout=0.3)

    until(lambda: proxy.happened, what="the proxy holds the response back")
    assert till.served == ["POST /pay 5"]
    assert proxy.happened == {"hang": 1}
    assert pay(client) == "receipt 2"


def test_a_duplicated_request_arrives_twice_at_once_and_the_first_response_is_returned(
    till: TillServer, proxy: ChaosProxy, client: urllib3.HTTPConnectionPool
) -> None:
    proxy.arm("duplicate")

    assert pay(client, "5", "/second-waits") == "receipt 1"

    assert till.served == ["POST /second-waits 5"] * 2
    assert proxy.happened == {"duplicate": 1}
    assert pay(client) == "receipt 3", "no second response is left on the connection"


def test_a_delayed_request_waits_before_it_is_forwarded(
    till: TillServer, proxy: ChaosProxy, client: urllib3.HTTPConnectionPool
) -> None:
    proxy.delay_ms = 120
    proxy.arm("delay")
    started = time.monotonic()

    assert pay(client) == "receipt 1"

    assert time.monotonic() - started >= 0.12
    assert proxy.happened == {"delay": 1}


def test_a_delay_by_chance_is_no_loss_and_may_precede_one(
    till: TillServer, proxy: ChaosProxy, client: urllib3.HTTPConnectionPool
) -> None:
    proxy.delay_ms = 1
    proxy.chance = {"delay": 1, "duplicate": 1}

    assert {pay(client), pay(client)} <= {f"receipt {n}" for n in range(1, 5)}

    assert len(till.served) == 4
    assert proxy.happened == {"delay": 2, "duplicate": 2}


def test_a_rule_meets_the_next_requests_with_its_pattern_and_no_other(
    till: TillServer, proxy: ChaosProxy, client: urllib3.HTTPConnectionPool
) -> None:
    proxy.arm("drop-request", b"key-2", times=2)
    received = []
    for key in ("key-1", "key-2", "key-1", "key-2", "key-2"):
        try:
            received.append(pay(client, key))
        except ProtocolError:
            received.append("reset")

    assert received == ["receipt 1", "reset", "receipt 2", "reset", "receipt 3"]
    assert till.served == [f"POST /pay key-{number}" for number in (1, 1, 2)]
    assert (proxy.requests, proxy.happened) == (5, {"drop-request": 2})


def test_each_request_on_a_kept_connection_has_its_own_fate(
    till: TillServer, proxy: ChaosProxy, client: urllib3.HTTPConnectionPool
) -> None:
    proxy.arm("duplicate", b"second")

    for body in ("first", "second", "third"):
        pay(client, body)

    assert client.num_connections == 1
    assert [request.split()[2] for request in till.served] == ["first", "second", "second", "third"]
    assert (proxy.requests, proxy.happened) == (3, {"duplicate": 1})


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize("path", ["/", "/chunked", "/nothing", "/interim"])
def test_what_meets_no_fault_passes_unchanged_and_keeps_its_connection(
    method: str, path: str, till: TillServer, proxy: ChaosProxy, client: urllib3.HTTPConnectionPool
) -> None:
    till.padding = 1_000_000
    bodiless = method == "HEAD" or path == "/nothing"
    for number in (1, 2):
        response = client.request(method, path)
        assert response.status == (204 if path == "/nothing" else 200)
        expected = f"receipt {number} " + "x" * till.padding
        assert response.data.decode() == ("" if bodiless else expected)

    assert till.served == [f"{method} {path}"] * 2
    assert (client.num_connections, proxy.requests, proxy.happened) == (1, 2, {})


def test_a_response_that_ends_with_its_connection_does_so_for_the_client(
    till: TillServer, client: urllib3.HTTPConnectionPool
) -> None:
    assert pay(client, path="/until-the-end") == "receipt 1"
    assert pay(client) == "receipt 2"


def test_the_proxy_returns_its_counts_and_does_not_count_requests_for_them(
    till: TillServer, proxy: ChaosProxy, client: urllib3.HTTPConnectionPool
) -> None:
    proxy.arm("cut-response", b"lost")
    proxy.arm("duplicate", b"twice")
    proxy.arm("drop-request", b"never")
    for body in ("lost", "twice", "never", "well"):
        with contextlib.suppress(ProtocolError):
            pay(client, body)
    client.request("GET", "/receipts")

    counts = [client.request("GET", "/chaos").json() for _ in range(2)]

    assert counts[0]["happened"] == {"cut-response": 1, "duplicate": 1, "drop-request": 1}
    assert (counts[0]["requests"], counts[0]["reached"]) == (5, 4)
    assert counts[1] == counts[0]
    assert len(till.served) == 5


def turn(client: urllib3.HTTPConnectionPool, body: object) -> urllib3.BaseHTTPResponse:
    return client.request("PUT", "/chaos", json=body)


def test_the_faults_are_turned_off_and_on_by_a_request_which_says_what_they_are(
    till: TillServer, proxy: ChaosProxy, client: urllib3.HTTPConnectionPool
) -> None:
    proxy.chance = {"drop-request": 1}
    assert client.request("GET", "/chaos").json()["faults"] is True

    for _ in range(2):  # a duplicate changes nothing
        assert turn(client, {"faults": False}).json()["faults"] is False
    assert client.request("GET", "/chaos").json()["faults"] is False
    assert pay(client) == "receipt 1"
    for _ in range(2):
        assert turn(client, {"faults": True}).json()["faults"] is True
    with pytest.raises(ProtocolError):
        pay(client)

    assert proxy.happened == {"drop-request": 1}
    assert proxy.requests == 2
    assert len(till.served) == 1


@pytest.mark.parametrize("body", [{}, {"faults": "off"}, {"faults": 0}, [], None, "off"])
@pytest.mark.parametrize("faults", [True, False])
def test_what_does_not_say_whether_the_faults_are_on_is_refused_and_changes_nothing(
    body: object, faults: bool, proxy: ChaosProxy, client: urllib3.HTTPConnectionPool
) -> None:
    turn(client, {"faults": faults})

    responses = [turn(client, body), client.request("PUT", "/chaos", body=b"{")]

    assert [each.status for each in responses] == [400, 400]
    assert client.request("GET", "/chaos").json()["faults"] is faults


def outcomes_of(
    target: tuple[str, int], seed: int, *, calm_first: int = 0, **chance: float
) -> list[str]:
    """Send 40 requests one after another and return the fault of each, or 'response'."""
    outcomes = []
    with ChaosProxy(target, seed=seed) as proxy, client_of(proxy.url) as client:
        proxy.chance = {fault: chance.get(fault.replace("-", "_"), 0) for fault in LOSSES}
        proxy.calm()
        for number in range(40):
            if number == calm_first:
                proxy.resume()
            before = proxy.happened.copy()
            with contextlib.suppress(ProtocolError):
                pay(client)
            outcomes.append(" ".join(proxy.happened - before) or "response")
    return outcomes


def test_the_same_seed_gives_the_same_faults_and_another_one_others(till: TillServer) -> None:
    first = outcomes_of(till.address, 7, cut_response=0.3, duplicate=0.3, drop_request=0.2)
    same = outcomes_of(till.address, 7, cut_response=0.3, duplicate=0.3, drop_request=0.2)
    other = outcomes_of(till.address, 8, cut_response=0.3, duplicate=0.3, drop_request=0.2)

    assert first == same != other
    assert set(first) == {"response", "cut-response", "duplicate", "drop-request"}


def test_a_requests_faults_depend_on_its_number_whatever_happened_before(till: TillServer) -> None:
    stormy = outcomes_of(till.address, 7, cut_response=0.5)
    calm_first = outcomes_of(till.address, 7, cut_response=0.5, calm_first=20)

    assert calm_first == ["response"] * 20 + stormy[20:]
    assert "cut-response" in stormy[:20]


def test_a_calmed_proxy_forwards_everything_and_a_resumed_one_keeps_its_rules(
    till: TillServer, proxy: ChaosProxy, client: urllib3.HTTPConnectionPool
) -> None:
    proxy.arm("cut-response")
    proxy.chance = {"drop-request": 1}

    proxy.calm()
    assert pay(client) == "receipt 1"
    assert proxy.happened == {}

    proxy.resume()
    for _ in range(2):
        with pytest.raises(ProtocolError):
            pay(client)
    assert proxy.happened == {"cut-response": 1, "drop-request": 1}


@pytest.mark.parametrize("fault", ["cut-response", "cut-halfway", "hang", "duplicate"])
def test_a_server_that_is_gone_is_a_reset_and_never_counted_as_the_fault(fault: Fault) -> None:
    with ChaosProxy(("127.0.0.1", free_port())) as proxy, client_of(proxy.url) as client:
        proxy.arm(fault)
        with pytest.raises(ProtocolError):
            pay(client)

    assert proxy.happened == {"no-response": 2 if fault == "duplicate" else 1}


def test_the_end_of_the_proxy_closes_hanging_and_idle_connections_without_a_log_line(
    till: TillServer, caplog: pytest.LogCaptureFixture
) -> None:
    with contextlib.ExitStack() as clients:
        with ChaosProxy(till.address) as proxy:
            pay(clients.enter_context(client_of(proxy.url)))
            proxy.arm("hang")
            hanging = clients.enter_context(
                socket.create_connection(("127.0.0.1", proxy.port), TIMEOUT_SECONDS)
            )
            hanging.sendall(b"GET / HTTP/1.1\r\n\r\n")
            until(lambda: proxy.happened["hang"], what="it hangs")
        assert hanging.recv(1) == b""
    assert [record for record in caplog.records if record.name == "asyncio"] == []


Command = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def command(till: TillServer) -> Iterator[Command]:
    started: list[subprocess.Popen[str]] = []

    def run(*arguments: str) -> "subprocess.Popen[str]":
        target = ["--target", f"127.0.0.1:{till.server_port}"]
        process = subprocess.Popen(
            [sys.executable, "-m", "simulator.chaos", *target, *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def line_of(process: "subprocess.Popen[str]") -> str:
    assert process.stdout
    return process.stdout.readline().strip()


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_the_command_breaks_requests_calms_down_and_prints_its_counts(
    end: signal.Signals, till: TillServer, command: Command
) -> None:
    port = free_port()
    proxy = command("--port", str(port), "--cut-response", "1", "--delay-ms", "1", "--seed", "3")
    url = f"http://127.0.0.1:{port}"
    assert line_of(proxy) == f"Forwarding {url} to 127.0.0.1:{till.server_port} until Ctrl-C."
    with client_of(url) as client:
        with pytest.raises(ProtocolError):
            pay(client)
        os.kill(proxy.pid, signal.SIGUSR1)
        assert line_of(proxy) == "Faults off."
        assert pay(client) == "receipt 2"
        os.kill(proxy.pid, signal.SIGUSR1)
        assert line_of(proxy) == "Faults on."
        with pytest.raises(ProtocolError):
            pay(client)
        turn(client, {"faults": False})
        os.kill(proxy.pid, signal.SIGUSR1)
        assert line_of(proxy) == "Faults on."
        os.kill(proxy.pid, end)

        output, _ = proxy.communicate(timeout=TIMEOUT_SECONDS)

    assert output.splitlines() == ["requests 3", "cut-response 2", "delay 2"]
    assert proxy.returncode == 0


def test_the_command_explains_each_fault(command: Command) -> None:
    output, _ = command("--help").communicate(timeout=TIMEOUT_SECONDS)

    explained = " ".join(output.split())
    assert all(f"--{fault} P" in explained and what in explained for fault, what in LOSSES.items())
    assert "--delay-ms N" in explained


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cut-response", "1.5"], "'1.5' is not a probability from 0 to 1"),
        (["--hang", "nan"], "'nan' is not a probability from 0 to 1"),
        (["--delay-ms", "-1"], "'-1' is not a number from 1 to 600,000"),
        (["--target", "there"], "'there' is not a number from 1 to 65,535"),
    ],
)
def test_the_command_refuses_what_makes_no_sense(
    arguments: list[str], message: str, command: Command
) -> None:
    process = command("--port", str(free_port()), *arguments)

    assert process.communicate(timeout=TIMEOUT_SECONDS)[0].strip().endswith(message)
    assert process.returncode == 2


def test_the_command_prints_that_its_port_is_in_use(till: TillServer, command: Command) -> None:
    process = command("--port", str(till.server_port))

    output, _ = process.communicate(timeout=TIMEOUT_SECONDS)

    assert output.startswith("can't listen: Address already in use")
    assert len(output.splitlines()) == 1
    assert process.returncode == 1
