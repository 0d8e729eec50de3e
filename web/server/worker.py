"""The web server's worker: gunicorn's gthread, whose threads only see whole requests.

The main loop receives requests, and sends what a client is slow to read, for any number of clients
at once. A thread works only between the last byte of a request and the first of its response, so a
slow or silent client occupies none. It occupies a connection, until a deadline and for as long as
there is room: a new connection takes the place of the one that waits longest.
"""

import gc
import resource
import socket
from collections import deque
from functools import partial
from http import HTTPStatus
from selectors import EVENT_WRITE
from typing import Any

from django.conf import settings
from django.db.backends.signals import connection_created

from web.server.connection import Connection
from web.server.duplicates import Duplicates, duplicates_max
from web.server.pool import FairPool
from web.server.refusals import ErrorSink, refusal
from web.server.waiting import WaitingWorker
from web.server.warm import connect_for_long

LINGER_SECONDS = 2.0  # for it to read a refusal before its connection goes (RFC 9112, section 9.6)
SPARE_FILES = 512  # of a worker, beside its clients' connections


def with_room_for(connections: int) -> int:
    """Let this process open files for so many connections, and return how many it has room for.

    Fewer, where the system allows it no more files: an `accept` without one would end the worker.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(soft, connections + SPARE_FILES)
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return min(connections, max(limit // 2, limit - SPARE_FILES))


class BufferingWorker(WaitingWorker):
    """Takes requests on, has threads handle them, and sends what they respond."""

    def init_process(self) -> None:
        """Make room for as many open files as there may be connections, and run."""
        self.finished: deque[Connection] = deque()  # whose requests threads have handled
        self.worker_connections: int = with_room_for(self.cfg.worker_connections)
        super().init_process()

    def load_wsgi(self) -> None:
        """Load the application, and with it the settings and the database's engine.

        All of it stays: the garbage collector would look through it again and again, for so long
        that each request meanwhile is a slow one.
        """
        super().load_wsgi()
        connection_created.connect(connect_for_long)
        self.duplicates = Duplicates(at_once_max=duplicates_max(self.cfg.threads))
        gc.collect()
        gc.freeze()

    def get_thread_pool(self) -> FairPool:
        """Return the request threads."""
        return FairPool(self.cfg.threads)

    # --- A request's way: accept, receive, handle (in a thread), hand back, finish, send

    def accept(self, listener: socket.socket) -> None:
        """Accept a connection; where there is no room, end the one that waits longest."""
        if self.leaves_it_to_another():
            return
        try:
            client, address = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        self.nr_conns += 1
        self._finish_requests()
        if self.nr_conns >= self.worker_connections and self.polled:
            self._drop(next(iter(self.polled)))
        conn = Connection(self.cfg, client, address, listener.getsockname())
        self._poll(conn, self._receive, settings.WEB_CLIENT_SECONDS)

    def _receive(self, conn: Connection) -> None:
        data = conn.sock.client.recv(65536)
        if not data:
            self._drop(conn)
            return
        if not conn.sock.received:  # a request's time begins with its first byte
            self._await(conn, settings.WEB_CLIENT_SECONDS)
        conn.sock.received += data
        self._submit_if_whole(conn)

    def _submit_if_whole(self, conn: Connection) -> None:
        if conn.has_whole_request():
            self.polled.pop(conn, None)
            if self.duplicates.admit(conn.sender.key):
                self.enqueue_req(conn)
            else:
                self._shed(conn)
        elif conn.has_endless_head():
            self._refuse(conn, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def enqueue_req(self, conn: Connection) -> None:
        """Have a thread handle a request when it is its caller's turn."""
        work, done = partial(self._handle, conn), partial(self._hand_back, conn)
        self.tpool.submit(conn.sender.caller, work, done)

    def _shed(self, conn: Connection) -> None:
        """Refuse one duplicate too many as the application would, and keep its connection.

        Except where the client did not wait for the response: it is to send its next request anew.
        """
        from web.server.shedding import key_in_use, wants_close  # noqa: PLC0415 - needs Django

        del conn.sock.received[: conn.request_bytes]
        conn.closes = conn.is_refused or bool(conn.sock.received) or wants_close(conn.head)
        conn.sock.sendall(key_in_use(conn.head, closes=conn.closes))
        self._send(conn)

    def handle_request(self, req: Any, conn: Connection) -> Any:
        """Have the application respond; a connection whose body is not awaited closes then."""
        if conn.is_refused:
            req.force_close()
        return super().handle_request(req, conn)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Respond to a request that gunicorn can't parse as the API does: by a problem."""
        sink = ErrorSink()
        super().handle_error(req, sink, addr, exc)
        client.sendall(refusal(sink.status))

    def _handle(self, conn: Connection) -> None:
        """Handle a request; in a thread."""
        conn.closes = True  # unless it goes well
        conn.closes = not self.handle(conn)
        conn.put_back()

    def _hand_back(self, conn: Connection) -> None:
        """Give a connection back to the main loop; in a thread.

        The loop is woken only for what can't wait until the client does something. It hears of
        that, while it polls the connection: `_called_back` finishes requests before and after it
        looks whether it does.
        """
        can_wait = not (conn.closes or conn.sock.unsent or conn.sock.received)
        self.finished.append(conn)
        if not (can_wait and conn.polled_for):
            self.method_queue.defer(self._finish_requests)

    def _finish_requests(self) -> None:
        """Send the rest of each response, then wait for the client's next request, or close."""
        while self.finished:
            conn = self.finished.popleft()
            self.duplicates.finish(conn.sender.key, is_final=conn.sock.is_final)
            self._guarded(self._send, conn)

    def _send(self, conn: Connection) -> None:
        conn.sock.flush()
        if conn.sock.unsent:
            if conn not in self.polled:
                self._poll(conn, self._send, settings.WEB_CLIENT_SECONDS, event=EVENT_WRITE)
            return
        self.polled.pop(conn, None)
        if not conn.closes:
            conn.begin_next_request()
            begun = bool(conn.sock.received)
            seconds = settings.WEB_CLIENT_SECONDS if begun else self.cfg.keepalive
            self._poll(conn, self._receive, seconds)
            self._submit_if_whole(conn)
        elif conn.is_refused or conn.sock.received:
            # Closed while bytes are unread, a connection loses its response as well.
            conn.sock.client.shutdown(socket.SHUT_WR)
            self._poll(conn, self._discard, LINGER_SECONDS)
        else:
            self._drop(conn)

    def _discard(self, conn: Connection) -> None:
        if not conn.sock.client.recv(65536):
            self._drop(conn)

    def _refuse(self, conn: Connection, status: int) -> None:
        """Respond to a request that is not here as a whole, and close."""
        self.polled.pop(conn, None)
        conn.closes = conn.is_refused = True
        conn.sock.sendall(refusal(status))
        self._send(conn)
