"""A light HTTP client: kept connections in one loop, requests made ahead, responses checked."""

import selectors
import socket
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

Address = tuple[str, int]

END_OF_HEAD = b"\r\n\r\n"
LENGTH = b"\r\ncontent-length: "  # in any case: HAProxy writes names in lower case
CHUNKED = b"\r\ntransfer-encoding: chunked"
SILENCE_SECONDS_MAX = 60


class WrongResponse(Exception):
    """A response is not the one that its request should have got: nothing is measured by it."""


class Exchange(NamedTuple):
    """A whole request, and what tells that its response is right.

    :param status: of the response
    :param contained: all of it stands in the response
    """

    request: bytes
    status: int
    contained: tuple[bytes, ...]

    def check(self, response: bytes) -> None:
        """Raise WrongResponse unless the response is as it should be."""
        right = response.startswith(b"HTTP/1.1 %d " % self.status)
        if not right or not all(part in response for part in self.contained):
            raise WrongResponse(f"{self} got {response.decode()}")


@dataclass
class Burst:
    """What came of a burst of requests.

    :param latencies: seconds from each request to its response, which was checked
    :param cpu_seconds: of this client
    """

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    cpu_seconds: float = 0.0

    @property
    def per_second(self) -> float:
        return len(self.latencies) / self.seconds


class _Connection:
    def __init__(self, address: Address, exchanges: Iterator[Exchange]) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.exchanges = exchanges

    def send(self) -> None:
        """Send the next request."""
        self.exchange = next(self.exchanges, None)
        if self.exchange is None:
            raise RuntimeError("Too few requests were made ahead.")
        self.received, self.sent_at = b"", time.perf_counter()
        self.socket.sendall(self.exchange.request)

    def receive(self) -> bytes | None:
        """Return the response once it is complete and checked."""
        data = self.socket.recv(65536)
        if not data:
            raise WrongResponse(f"The connection was closed after {self.received!r}.")
        self.received += data
        if not _is_whole(self.received):
            return None
        assert self.exchange is not None
        self.exchange.check(self.received)
        return self.received


def burst(address: Address, exchanges: Iterable[Iterator[Exchange]], *, seconds: float) -> Burst:
    """Send requests for so many seconds, one at a time on each connection; check every response.

    :param exchanges: of each connection
    :raises WrongResponse: a response is not as its request's exchange says
    :raises RuntimeError: a connection has no request left
    :raises TimeoutError: the server is silent
    """
    connections = [_Connection(address, each) for each in exchanges]
    result = Burst()
    try:
        with selectors.DefaultSelector() as selector:
            for each in connections:
                selector.register(each.socket, selectors.EVENT_READ, each)
            cpu, started = time.process_time(), time.perf_counter()
            for each in connections:
                each.send()
            _exchange(selector, len(connections), result.latencies, until=started + seconds)
            result.seconds = time.perf_counter() - started
            result.cpu_seconds = time.process_time() - cpu
    finally:
        for each in connections:
            each.socket.close()
    return result


def _exchange(
    selector: selectors.BaseSelector, sending: int, latencies: list[float], *, until: float
) -> None:
    while sending:
        ready = selector.select(SILENCE_SECONDS_MAX)
        if not ready:
            raise TimeoutError(f"No response within {SILENCE_SECONDS_MAX} s.")
        for key, _ in ready:
            connection: _Connection = key.data
            if connection.receive() is None:
                continue
            now = time.perf_counter()
            latencies.append(now - connection.sent_at)
            if now < until:
                connection.send()
            else:
                sending -= 1


def _is_whole(received: bytes) -> bool:
    head, _, body = received.partition(END_OF_HEAD)
    head = head.lower()
    if CHUNKED in head:
        return body.endswith(b"0\r\n\r\n")
    return LENGTH in head and len(body) >= int(head.split(LENGTH)[1].split(b"\r\n")[0])


def response_to(address: Address, exchange: Exchange) -> bytes:
    """Return the whole response to one request, checked."""
    connection = _Connection(address, iter([exchange]))
    with connection.socket:
        connection.send()
        while (response := connection.receive()) is None:
            pass
    return response


def get(path: str, *, token: str) -> bytes:
    """Return a whole request."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Token {token}\r\n\r\n".encode()
    )


def post(path: str, body: bytes, *, token: str, key: str = "") -> bytes:
    """Return a whole request."""
    idempotency = f"Idempotency-Key: {key}\r\n" if key else ""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Token {token}\r\n{idempotency}"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
