"""A light HTTP client: kept connections in one loop, requests made ahead, responses checked."""

import itertools
import selectors
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

END_OF_HEAD = b"\r\n\r\n"
LENGTH = b"\r\nContent-Length: "


@dataclass
class Burst:
    """What came of a burst of requests.

    :param latencies: seconds from each request to its response
    """

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        return len(self.latencies) / self.seconds


class _Client:
    def __init__(self, address: tuple[str, int], requests: Iterator[bytes]) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.requests = requests
        self.received = b""
        self.sent_at = 0.0

    def send(self) -> bool:
        """Send the next request; False: there is none."""
        if (request := next(self.requests, None)) is None:
            return False
        self.received, self.sent_at = b"", time.perf_counter()
        self.socket.sendall(request)
        return True

    def response(self) -> bytes | None:
        """Return the response once it is complete."""
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError(f"closed after {self.received!r}")
        self.received += data
        head, _, body = self.received.partition(END_OF_HEAD)
        if LENGTH not in head:
            return None
        length = int(head.partition(LENGTH)[2].partition(b"\r\n")[0])
        return self.received if len(body) >= length else None


def burst(
    address: tuple[str, int],
    requests: Iterable[Iterator[bytes]],
    *,
    seconds: float,
    expected: tuple[bytes, ...],
) -> Burst:
    """Send requests for so many seconds, one at a time on each connection.

    :param requests: of each connection; where one runs out the burst ends with an error
    :param expected: what every response contains
    :raises AssertionError: a response is another one, or the requests ran out
    """
    result = Burst()
    with ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        clients = [_Client(address, each) for each in requests]
        for client in clients:
            stack.enter_context(client.socket)
            selector.register(client.socket, selectors.EVENT_READ, client)
        started = time.perf_counter()
        for client in clients:
            client.send()
        waiting = len(clients)
        while waiting:
            for key, _ in selector.select():
                client = key.data
                if (response := client.response()) is None:
                    continue
                now = time.perf_counter()
                assert all(part in response for part in expected), response.decode()
                result.latencies.append(now - client.sent_at)
                if now - started >= seconds:
                    waiting -= 1
                else:
                    assert client.send(), "too few requests were made ahead"
        result.seconds = time.perf_counter() - started
    return result


def post(path: str, body: bytes, *, token: str, key: str = "") -> bytes:
    """Return a whole request."""
    idempotency = f"Idempotency-Key: {key}\r\n" if key else ""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Token {token}\r\n{idempotency}"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def forever(request: bytes) -> Iterator[bytes]:
    return itertools.repeat(request)
