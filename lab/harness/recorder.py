"""The recorder of a watched run: a line of JSON for each event, as it happens.

The page reads the file (lab/page/recording.py). Times are milliseconds since the scenario began.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TextIO

from django.db import connection

RecordEvent = Callable[..., None]
POLL_SECONDS = 0.002
FIRST_READ_SECONDS_MAX = 10
# PostgreSQL reads a session's statement before its wait, and a statement may come between: that one
# waits, not the BEGIN ahead of it. The next poll names it.
READ = """
SELECT (SELECT balance FROM {} WHERE id = %s), (
    SELECT coalesce(jsonb_object_agg(pid, query), '{{}}') FROM pg_stat_activity
     WHERE application_name = %s AND wait_event_type = 'Lock' AND query <> 'BEGIN')"""


@dataclass
class _AccountPoll:
    """The account to poll while a scenario runs, and the sessions that serve its clicks."""

    table: str
    account: int
    sessions: str
    has_begun: threading.Event = field(default_factory=threading.Event)
    is_over: threading.Event = field(default_factory=threading.Event)

    def read(self) -> tuple[int, dict[int, str]]:
        """Return the balance, and the sessions that wait for a lock, each with its statement."""
        with connection.cursor() as cursor:  # this thread's own
            cursor.execute(READ.format(self.table), [self.account, self.sessions])
            balance, waiting = cursor.fetchone()
        return int(balance), {int(session): sql for session, sql in json.loads(waiting).items()}


class NullRecorder:
    """Records nothing: nobody watches the run."""

    def record(self, event: str, **facts: Any) -> None:
        """Record an event."""

    @contextmanager
    def watch(
        self, mechanism: str, scenario: str, *, account: tuple[str, int], sessions: str
    ) -> Iterator[None]:
        """Record an account's balance, and which sessions wait for a lock, during the block.

        :param account: its table and its id
        :param sessions: the application name of the database sessions that serve the clicks
        """
        yield


class EventRecorder(NullRecorder):
    """Writes events to a file that other processes read meanwhile."""

    def __init__(self, lines: TextIO) -> None:
        self._lines = lines
        self._lock = threading.RLock()
        self._began = time.perf_counter()
        self._clicks: dict[int, int] = {}  # by the session that serves them
        self._blocked: set[int] = set()

    def record(self, event: str, **facts: Any) -> None:
        with self._lock:
            click, session = facts.get("click"), facts.pop("session", None)
            if session is not None and click is not None:
                self._clicks[session] = click
            if click in self._blocked:  # it went on: known sooner than by the next poll
                self._blocked.discard(click)
                self._write("unblocked", click=click)
            self._write(event, **facts)

    @contextmanager
    def watch(
        self, mechanism: str, scenario: str, *, account: tuple[str, int], sessions: str
    ) -> Iterator[None]:
        self._began = time.perf_counter()
        self.record("scenario-started", mechanism=mechanism, scenario=scenario)
        poll = _AccountPoll(*account, sessions)
        polling = threading.Thread(target=self._poll, args=(poll,))
        polling.start()
        poll.has_begun.wait(FIRST_READ_SECONDS_MAX)
        try:
            yield
        finally:
            poll.is_over.set()
            polling.join()

    def _poll(self, poll: "_AccountPoll") -> None:
        """Read the balance and the waiting sessions until the end, and once after it."""
        known = None
        try:
            while True:
                is_last = poll.is_over.wait(POLL_SECONDS)
                balance, waiting = poll.read()
                self._record_locks(waiting)
                if balance != known:
                    known = balance
                    self.record("balance", balance=balance)
                poll.has_begun.set()
                if is_last:
                    return
        finally:
            connection.close()

    def _record_locks(self, sessions: Mapping[int, str]) -> None:
        """Record which clicks began to wait for a lock of the database, and which no longer do."""
        with self._lock:
            known = sessions.keys() & self._clicks.keys()
            statements = {self._clicks[session]: sessions[session] for session in known}
            blocked = set(statements)
            for click in sorted(blocked - self._blocked):
                self._write("blocked", click=click, sql=[" ".join(statements[click].split())])
            for click in sorted(self._blocked - blocked):
                self._write("unblocked", click=click)
            self._blocked = blocked

    def _write(self, event: str, **facts: Any) -> None:
        ms = round(1000 * (time.perf_counter() - self._began), 2)
        self._lines.write(f"{json.dumps({'event': event, 'ms': ms} | facts)}\n")
        self._lines.flush()
