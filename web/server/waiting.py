"""How a worker's main loop waits for its clients: any number at once, each until a deadline."""

import time
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from selectors import EVENT_READ
from typing import Any

from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER

from web.server.balance import BalancedWorker
from web.server.connection import Connection

SWEEP_SECONDS = 0.25
UNSENT_BYTES_MAX = 64 * 1024 * 1024  # of all responses that a worker still has to send


class WaitingWorker(BalancedWorker):
    """Has its clients wait in the main loop: `polled` holds them, the longest wait first."""

    def init_process(self) -> None:
        """Begin with no clients, and run."""
        self.polled: dict[Connection, None] = {}
        self.next_sweep = 0.0
        super().init_process()

    def _refuse(self, conn: Connection, status: int) -> None:
        raise NotImplementedError

    def _finish_requests(self) -> None:
        raise NotImplementedError

    def _poll(
        self,
        conn: Connection,
        callback: Callable[[Connection], None],
        seconds: float,
        *,
        event: int = EVENT_READ,
    ) -> None:
        """Call back when a client sends, or takes, something, until a deadline.

        The poller keeps the connection while a thread has its request: `_called_back` takes it
        out if the client does something meanwhile, which few do.
        """
        self._await(conn, seconds)
        conn.callback = callback
        if conn.polled_for == event:
            return
        poll = self.poller.modify if conn.polled_for else self.poller.register
        poll(conn.sock.client, event, partial(self._called_back, conn))
        conn.polled_for = event

    def _called_back(self, conn: Connection, _client: Any) -> None:
        self._finish_requests()
        if conn in self.polled:
            self._guarded(conn.callback, conn)
        else:  # its request is in a thread, or it was dropped in this turn
            self._unpoll(conn)
            self._finish_requests()  # of a thread that found it still polled

    def _unpoll(self, conn: Connection) -> None:
        if conn.polled_for:
            self.poller.unregister(conn.sock.client)
            conn.polled_for = 0

    def _guarded(self, callback: Callable[[Connection], None], conn: Connection) -> None:
        try:
            callback(conn)
        except BlockingIOError:
            return
        except OSError:  # the client is gone
            self._drop(conn)

    def _await(self, conn: Connection, seconds: float) -> None:
        """Put a connection at the end of the line, with a deadline."""
        seconds = seconds if self.alive else min(seconds, STOP_KEEPALIVE_LINGER)
        conn.deadline = time.monotonic() + seconds
        self.polled.pop(conn, None)
        self.polled[conn] = None

    def _drop(self, conn: Connection) -> None:
        self.polled.pop(conn, None)
        self._unpoll(conn)
        self.nr_conns -= 1
        conn.close()

    def notify(self) -> None:
        """Do nothing in each turn of gthread's loop: the sweep tells the arbiter often enough."""

    def murder_keepalived(self, force: bool = False) -> None:
        """End the connections whose deadline has passed, or all; gthread calls this in its loop."""
        now = time.monotonic()
        if now < self.next_sweep and not force:
            return
        self.next_sweep = now + SWEEP_SECONDS
        super().notify()
        self._finish_requests()
        for conn in [conn for conn in self.polled if force or conn.deadline <= now]:
            if conn.has_part_of_request() and not force:
                self._guarded(partial(self._refuse, status=HTTPStatus.REQUEST_TIMEOUT), conn)
            else:
                self._drop(conn)
        unsent = [conn for conn in self.polled if conn.sock.unsent]
        while sum(len(conn.sock.unsent) for conn in unsent) > UNSENT_BYTES_MAX:
            self._drop(unsent.pop(0))

    def _cap_keepalive(self, deadline: float) -> None:
        """Have nobody keep a stopping worker waiting beyond a deadline."""
        for conn in self.polled:
            conn.deadline = min(conn.deadline, deadline)
