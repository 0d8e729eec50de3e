"""Deadlines for a PostgreSQL that accepts connections and does not respond, as on a frozen host.

The kernel of such a host acknowledges what it gets, so no timeout of TCP ends the wait, and no
timeout of the server's runs. Web servers and relays set a deadline; other commands have none.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg.abc import RV, PQGen
from psycopg.errors import ConnectionTimeout
from psycopg.rows import Row

PAUSE_SECONDS = 1.0  # between two attempts of a process to reach a silent server
LONG_RESPONSE_SECONDS = 600.0  # of a statement that reads everything, without `statement_timeout`

_response_seconds: float | None = None


class NoResponse(ConnectionTimeout):
    """The server did not respond in time: another try would wait for as long."""


def expect_responses(*, within_seconds: float) -> None:
    """Set the deadline of each response for the connections that this process opens from now on.

    :param within_seconds: longer than the server's own `statement_timeout`; 0: no deadline
    """
    global _response_seconds  # noqa: PLW0603 - one deadline for the whole process
    _response_seconds = within_seconds or None


def response_seconds() -> float | None:
    """Return this process's deadline of a response; None: it has none."""
    return _response_seconds


class Breaker:
    """Of all threads lets one try to reach a silent server; the others fail at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._silent_until = 0.0

    @property
    def is_tripped(self) -> bool:
        """Whether the server was silent when it was last tried."""
        return bool(self._silent_until)

    @contextmanager
    def attempt(self, *, seconds: float) -> Iterator[None]:
        """Try to reach the server, for so long at most.

        :raises NoResponse: it was silent a moment ago, or another thread is trying
        """
        with self._lock:
            now = time.monotonic()
            if now < self._silent_until:
                raise NoResponse("the database did not respond a moment ago")
            if self._silent_until:
                self._silent_until = now + seconds
        try:
            yield
        except ConnectionTimeout:
            self.trip()
            raise
        except psycopg.Error:
            self._silent_until = 0.0  # a refusal is a response
            raise
        self._silent_until = 0.0

    def trip(self) -> None:
        """Have everybody fail at once for a moment; a repeated call begins it anew."""
        self._silent_until = time.monotonic() + PAUSE_SECONDS


class Connection(psycopg.Connection[Row]):
    """A connection that is closed when the server has not responded by a deadline.

    :ivar next_response_seconds: a shorter deadline, of the next response only
    """

    response_seconds: float | None = None
    next_response_seconds: float | None = None
    breaker: Breaker | None = None

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Wait for a response, whatever it is to: each statement, COMMIT and ROLLBACK passes here.

        :raises NoResponse: there was none; whether a COMMIT took place is unknown
        """
        if timeout is not None or self.response_seconds is None:
            return super().wait(gen, interval, timeout)
        seconds = self.next_response_seconds or self.response_seconds
        self.next_response_seconds = None
        try:
            return super().wait(gen, interval, seconds)
        except psycopg.errors._WaitTimeout:
            self.pgconn.finish()  # a server that wakes finds it closed, and rolls back
            if self.breaker:
                self.breaker.trip()
            text = f"the database did not respond within {seconds:g} s"
            raise NoResponse(text) from None

    def has_ended(self) -> bool:
        """Return True if the other side has ended an idle session; asks nobody.

        It reads what is there: first the server's last words, if any, then the end of the stream.
        Unlike a poll this keeps the interpreter, which the busy threads of a web server hand back
        late.
        """
        try:
            self.pgconn.consume_input()
            self.pgconn.consume_input()
        except psycopg.OperationalError:
            return True
        return False


@contextmanager
def responding_within(session: Connection[Row], seconds: float) -> Iterator[None]:
    """Set another deadline for the block; a session that has none keeps none."""
    usual = session.response_seconds
    if usual is not None:
        session.response_seconds = seconds
    try:
        yield
    finally:
        session.response_seconds = usual
