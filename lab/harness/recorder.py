"""The record of a run that is watched: what happens, as it happens, a line of JSON each.

The page reads it (lab/story.py). Times are in milliseconds since the scene began.
"""

import json
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TextIO

from django.db import connection

Note = Callable[..., None]
PAUSE = 0.002  # seconds between two looks at the database
PATIENCE = 10  # seconds for the first one
LOOK = """
SELECT (SELECT balance FROM {} WHERE id = %s), ARRAY(
    SELECT pid FROM pg_stat_activity WHERE application_name = %s AND wait_event_type = 'Lock')"""


@dataclass
class _Watch:
    """What to look at while a scene plays: an account, and the sessions that serve the clicks."""

    table: str
    account: int
    sessions: str
    began: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)

    def look(self) -> tuple[int, list[int]]:
        """Return the balance, and the sessions that wait for a lock."""
        with connection.cursor() as cursor:  # this thread's own
            cursor.execute(LOOK.format(self.table), [self.account, self.sessions])
            balance, waiting = cursor.fetchone()
        return int(balance), waiting


class Unrecorded:
    """Takes no notes: nobody watches."""

    def note(self, event: str, **facts: Any) -> None:
        """Take note of an event."""

    @contextmanager
    def scene(
        self, mechanism: str, scenario: str, *, account: tuple[str, int], sessions: str
    ) -> Iterator[None]:
        """Take note of what happens to an account, and of which sessions wait, for the block.

        :param account: its table and its id
        :param sessions: the application name of the database sessions that serve the clicks
        """
        yield


class Record(Unrecorded):
    """Writes its notes to a file that others read meanwhile."""

    def __init__(self, lines: TextIO) -> None:
        self._lines = lines
        self._lock = threading.RLock()
        self._began = time.perf_counter()
        self._clicks: dict[int, int] = {}  # by the session that serves them
        self._blocked: set[int] = set()

    def note(self, event: str, **facts: Any) -> None:
        with self._lock:
            click, session = facts.get("click"), facts.pop("session", None)
            if session is not None and click is not None:
                self._clicks[session] = click
            if click in self._blocked:  # it got further: sooner known than by the next look
                self._blocked.discard(click)
                self._write("unblocked", click=click)
            self._write(event, **facts)

    @contextmanager
    def scene(
        self, mechanism: str, scenario: str, *, account: tuple[str, int], sessions: str
    ) -> Iterator[None]:
        self._began = time.perf_counter()
        self.note("scene", mechanism=mechanism, scenario=scenario)
        watch = _Watch(*account, sessions)
        watching = threading.Thread(target=self._look, args=(watch,))
        watching.start()
        watch.began.wait(PATIENCE)
        try:
            yield
        finally:
            watch.over.set()
            watching.join()

    def _look(self, watch: "_Watch") -> None:
        """Look at the balance and at who waits, again and again, and once after the end."""
        known = None
        try:
            while True:
                last = watch.over.wait(PAUSE)
                balance, waiting = watch.look()
                self._see_locks(waiting)
                if balance != known:
                    known = balance
                    self.note("balance", balance=balance)
                watch.began.set()
                if last:
                    return
        finally:
            connection.close()

    def _see_locks(self, sessions: Collection[int]) -> None:
        """Take note of which clicks wait for a lock of the database now, and which no more."""
        with self._lock:
            blocked = {self._clicks[each] for each in sessions if each in self._clicks}
            for click in sorted(blocked - self._blocked):
                self._write("blocked", click=click)
            for click in sorted(self._blocked - blocked):
                self._write("unblocked", click=click)
            self._blocked = blocked

    def _write(self, event: str, **facts: Any) -> None:
        ms = round(1000 * (time.perf_counter() - self._began), 2)
        self._lines.write(f"{json.dumps({'event': event, 'ms': ms} | facts)}\n")
        self._lines.flush()
