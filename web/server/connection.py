"""A client's connection: received and sent without blocking, whoever reads or writes it."""

import re
import socket
from collections.abc import Callable
from typing import Any

from django.conf import settings
from gunicorn.workers.gthread import TConn

from web.server.senders import NOBODY, sender

HEAD_BYTES_MAX = 32 * 1024
END_OF_HEAD = b"\r\n\r\n"
LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([^\r]*)", re.IGNORECASE)
ENCODED = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
EXPECTS = re.compile(rb"\r\nexpect:[ \t]*100-continue[ \t]*\r\n", re.IGNORECASE)

# The head of a first response that is a success, or of any replay.
FINAL = re.compile(
    rb"HTTP/1\.[01] (?:2|[^\n]*\r\n(?:[^\r\n]+\r\n)*?idempotent-replayed:)", re.IGNORECASE
)


class BufferedSocket:
    """What gunicorn reads a request from and writes a response to; never blocks.

    `recv` returns only what the main loop has received; `sendall` keeps what the client does not
    take at once, and a response's head until its body is there: one packet instead of two.
    """

    def __init__(self, client: socket.socket) -> None:
        client.setblocking(False)
        self.client = client
        self.received = bytearray()
        self.unsent = bytearray()
        self.is_final = False  # the response is the one that the request's duplicates get

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    def setblocking(self, flag: bool) -> None:
        """Do nothing: gunicorn would have its thread block."""

    def settimeout(self, seconds: float | None) -> None:
        """Do nothing: nobody waits here."""

    def close(self) -> None:
        """Do nothing: the main loop closes what it polls."""

    def recv(self, size: int) -> bytes:
        """Return received bytes; none mean the end: the rest of a refused body is not awaited."""
        data = bytes(self.received[:size])
        del self.received[:size]
        return data

    def send(self, data: bytes) -> int:
        """Discard gunicorn's "100 Continue": the body is here, or refused."""
        return len(data)

    def sendall(self, data: bytes) -> None:
        """Send what the client takes, and keep the rest; OSError if the client is gone."""
        self.unsent += data
        if data.endswith(END_OF_HEAD) and data.startswith(b"HTTP/"):
            self.is_final = FINAL.match(data) is not None
        else:
            self.flush()

    def flush(self) -> None:
        """Send what the client takes of what was kept; OSError if the client is gone."""
        while self.unsent:
            try:
                sent = self.client.send(self.unsent)
            except BlockingIOError:
                return
            del self.unsent[:sent]


class Connection(TConn):  # type: ignore[misc]
    """A client's connection: either in the main loop, or in a thread with one whole request."""

    def __init__(self, cfg: Any, client: socket.socket, address: Any, server: Any) -> None:
        super().__init__(cfg, BufferedSocket(client), address, server)
        self.data_ready = True  # for gthread, whose threads would wait for it
        self.deadline = 0.0
        self.polled_for = 0  # the event, or none
        self.callback: Callable[[Connection], None]  # at that event
        self.is_continued = False  # "100 Continue" was sent
        self.is_refused = False  # before the whole request was here
        self.closes = False
        self.head = b""  # of the request that is here as a whole
        self.request_bytes = 0  # its head and its body
        self.sender = NOBODY

    def close(self, graceful: bool = False) -> None:
        """End the connection; the main loop alone does."""
        self.sock.client.close()

    def has_whole_request(self) -> bool:
        """Return True if no more need be received: the request is here, or its head refuses it."""
        received = self.sock.received
        size = received.find(END_OF_HEAD) + len(END_OF_HEAD)
        if size < len(END_OF_HEAD):
            return False
        head = received[:size]
        body = _length(head)
        # gunicorn, or `web.middleware`, refuses these by their head alone.
        self.is_refused = body is None or body > settings.MAX_BODY_BYTES
        if body is None or self.is_refused or len(received) >= size + body:
            self.head = bytes(head)
            self.request_bytes = size + (body or 0)
            self.sender = sender(self.head)
            return True
        if not self.is_continued and EXPECTS.search(head):
            self.is_continued = True
            self.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.sock.flush()
        return False

    def has_part_of_request(self) -> bool:
        """Return True if the client has begun a request that nobody responded to yet."""
        return bool(self.sock.received) and not (self.is_refused or self.sock.unsent)

    def has_endless_head(self) -> bool:
        received = self.sock.received
        return len(received) > HEAD_BYTES_MAX and END_OF_HEAD not in received

    def put_back(self) -> None:
        """Put back what the parser has read of the client's next request."""
        if self.parser is not None:  # or nothing but refusals so far
            self.sock.received[:0] = self.parser.unreader.take_buffered()

    def begin_next_request(self) -> None:
        """Forget what was known of the request before."""
        self.is_continued = False
        self.sock.is_final = False
        self.head = b""


def _length(head: bytes) -> int | None:
    """Return the length of a request's body, or None where its head does not say one."""
    lengths = LENGTH.findall(head)
    if ENCODED.search(head) or len(lengths) > 1:
        return None
    length = lengths[0].rstrip() if lengths else b"0"
    return int(length) if length.isdigit() and len(length) < 12 else None
