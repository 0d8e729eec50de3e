"""Requests as bytes over a socket: HTTP clients refuse to send most of what a fuzzer must."""

import contextlib
import http.client
import socket
from dataclasses import dataclass

from tests.surface.grammar import HostileRequest

SECONDS_MAX = 30  # for one response, on a machine with other work


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0]


class Wire:
    """A connection to a server, made again whenever the server or a request has ended it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.socket: socket.socket | None = None

    def send(self, request: HostileRequest) -> Reply | None:
        """Send a request and return the response; None: the server ended the connection."""
        connection = self.socket or self._connect()
        self.socket = None
        try:
            connection.sendall(request.data)
            if not request.is_framed:  # a body that is shorter than it claims has ended
                connection.shutdown(socket.SHUT_WR)
            reply, is_open = _read(connection, request.method)
        except (ConnectionError, http.client.HTTPException):
            connection.close()
            return None
        except TimeoutError:
            connection.close()
            raise TimeoutError(f"no response in {SECONDS_MAX} s to {request}") from None
        if request.is_framed and is_open:
            self.socket = connection
        else:
            connection.close()
        return reply

    def _connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=SECONDS_MAX)

    def close(self) -> None:
        if self.socket:
            with contextlib.suppress(OSError):
                self.socket.close()


def _read(connection: socket.socket, method: str) -> tuple[Reply, bool]:
    response = http.client.HTTPResponse(connection, method=method)
    try:
        response.begin()
        body = response.read()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Reply(response.status, headers, body), not response.will_close
    finally:
        response.close()
