"""The benchmark's client: it measures a response only if that is the right one."""

import itertools
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from benchmarks.load import Address, Exchange, WrongResponse, burst, post, response_to

RIGHT = b'{"id":"1","status":2}'
PAY = Exchange(post("/pay/", b"{}", token="t", key="k"), 200, (b'"status":2',))


def response(body: bytes, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


@contextmanager
def server(responses: Iterator[bytes]) -> Iterator[Address]:
    """Send the responses in turns, each in two pieces; at the end close the connection."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            while self.request.recv(65536) and (data := next(responses, None)):
                self.request.sendall(data[:30])
                self.request.sendall(data[30:])

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield "127.0.0.1", listening.server_address[1]
        listening.shutdown()


def test_a_burst_measures_each_right_response() -> None:
    with server(itertools.cycle([response(RIGHT)])) as address:
        done = burst(address, [itertools.cycle([PAY]), itertools.cycle([PAY])], seconds=0.02)
        assert response_to(address, PAY) == response(RIGHT)
    assert len(done.latencies) >= 2
    assert min(done.latencies) > 0
    assert done.seconds >= 0.02
    assert done.per_second == len(done.latencies) / done.seconds


@pytest.mark.parametrize(
    "wrong",
    [
        response(RIGHT, b"500 Internal Server Error"),
        response(RIGHT, b"201 Created"),
        response(b'{"id":"1","status":3}'),
        response(b""),
        b"",  # the connection is closed
    ],
)
def test_one_wrong_response_ends_the_benchmark(wrong: bytes) -> None:
    responses = itertools.chain([response(RIGHT)] * 3, [wrong], itertools.cycle([response(RIGHT)]))
    with server(responses) as address, pytest.raises(WrongResponse):
        burst(address, [itertools.cycle([PAY])], seconds=5)


def test_a_burst_that_runs_out_of_requests_is_no_measurement() -> None:
    with (
        server(itertools.cycle([response(RIGHT)])) as address,
        pytest.raises(RuntimeError, match="Too few requests"),
    ):
        burst(address, [iter([PAY] * 3)], seconds=5)
