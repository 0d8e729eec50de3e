"""A TCP proxy that loses answers: armed by what the client sends, fired by the server's answer."""

import contextlib
import socket
import struct
import threading
from typing import Self

from tests.live import free_port


class LosingProxy:
    """Forward to a server; after `arm(pattern)`, cut the connection instead of the next answer.

    The request has reached the server and its answer has arrived here before the connection is
    reset: "done, and the caller never learnt it", every time.
    """

    def __init__(self, host: str, port: int) -> None:
        self.target = (host, port)
        self.port = free_port()
        self.lost = 0
        self._patterns: list[bytes] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", self.port))

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def arm(self, pattern: bytes, *, times: int = 1) -> None:
        """Lose the answers to the next requests that contain a pattern."""
        with self._lock:
            self._patterns.extend([pattern] * times)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self.target)
            fired = threading.Event()
            for source, sink, pump in (
                (client, server, self._forward_requests),
                (server, client, self._forward_answers),
            ):
                threading.Thread(target=pump, args=(source, sink, fired), daemon=True).start()

    def _forward_requests(
        self, client: socket.socket, server: socket.socket, fired: threading.Event
    ) -> None:
        while chunk := _receive(client):
            if self._matches(chunk):
                fired.set()
            try:
                server.sendall(chunk)
            except OSError:
                break
        _close(server)

    def _forward_answers(
        self, server: socket.socket, client: socket.socket, fired: threading.Event
    ) -> None:
        while chunk := _receive(server):
            if fired.is_set():
                with self._lock:
                    self.lost += 1
                break
            try:
                client.sendall(chunk)
            except OSError:
                break
        # Reset, not a polite end: the client sees a broken connection.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        _close(client)
        _close(server)

    def _matches(self, chunk: bytes) -> bool:
        with self._lock:
            for pattern in self._patterns:
                if pattern in chunk:
                    self._patterns.remove(pattern)
                    return True
        return False


def _receive(source: socket.socket) -> bytes:
    try:
        return source.recv(65536)
    except OSError:
        return b""


def _close(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
