"""Writing the journal behind: rows wait in memory, and a thread inserts them in batches.

The thread starts with the first row of a process, a forked one too, and ends with the process.
"""

import atexit
import json
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import DataError, connections, router

from idempotency.conf import conf
from idempotency.journal.models import JournaledRequest, Outcome
from idempotency.steps import Step

log = logging.getLogger("idempotency")

LAST_SECONDS_MAX = 5.0  # of a process's end that waits for the last rows
BATCH = 1000
CLOCK_READINGS = 3

# The ids are the process's own: a batch whose COMMIT was not confirmed is written again, and only
# what is not there yet is added.
INSERT = """
INSERT INTO idempotency_journal_journaledrequest (
    id, received_at, outcome, scope, key_digest, subject, request_id, milliseconds,
    waited_milliseconds, steps)
SELECT id, %(epoch)s::timestamptz + received * interval '1 second', outcome, scope, key_digest,
       subject, request_id, milliseconds, waited_milliseconds, steps
  FROM json_to_recordset(%(rows)s::json) AS row (
       id uuid, received float8, outcome text, scope text, key_digest text, subject text,
       request_id text, milliseconds float8, waited_milliseconds float8, steps jsonb)
ON CONFLICT (id) DO NOTHING
"""


@dataclass(slots=True)
class Row:
    """A request that is to be journaled: the facts that every signal of the boundary has.

    :ivar ended: on this process's monotonic clock
    """

    outcome: Outcome
    scope: str = ""
    key_digest: str = ""
    subject: str = ""
    request_id: str = ""
    seconds: float = 0.0
    waited_seconds: float = 0.0
    steps: Sequence[Step] = ()
    id: str = field(default_factory=lambda: os.urandom(16).hex())
    ended: float = field(default_factory=time.monotonic)


class Recorder:
    """The rows of this process that are not in the database yet: no more than JOURNAL_ROWS_MAX.

    :ivar dropped: how many more there were since the process started
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._rows: deque[Row] = deque()
        self._lock = threading.Lock()
        self._writing = threading.Lock()

    def add(self, row: Row) -> bool:
        """Have a row written soon; False: there are too many, and it is dropped."""
        with self._lock:
            if len(self._rows) >= conf().JOURNAL_ROWS_MAX:
                self.dropped += 1
                return False
            self._rows.append(row)
            return True

    def flush(self) -> bool:
        """Write the rows; a repeated call, also after an error, adds only what is missing.

        False: there are none.
        """
        with self._writing:
            written = False
            while batch := self._first():
                _insert_all_that_fit(batch)
                written = True
                with self._lock:
                    for _ in batch:
                        self._rows.popleft()
            return written

    def _first(self) -> list[Row]:
        with self._lock:
            return [self._rows[number] for number in range(min(BATCH, len(self._rows)))]


def _insert_all_that_fit(rows: Sequence[Row]) -> None:
    """Insert rows; one whose values the table can't hold is dropped, and keeps no other waiting."""
    try:
        _insert(rows)
    except DataError as error:
        if len(rows) == 1:
            log.error("a request can't be journaled: %s", str(error).partition("\n")[0])
            return
        middle = len(rows) // 2
        _insert_all_that_fit(rows[:middle])
        _insert_all_that_fit(rows[middle:])


def _insert(rows: Sequence[Row]) -> None:
    with connections[router.db_for_write(JournaledRequest)].cursor() as cursor:
        values = json.dumps([_values(row) for row in rows])
        cursor.execute(INSERT, {"epoch": _epoch(cursor), "rows": values})


def _epoch(cursor: Any) -> datetime:
    """Return the time of the database's clock at which this process's monotonic one was 0.

    The rows of several processes are then in order. The shortest of some round trips is the least
    in doubt.
    """
    best: tuple[float, datetime] | None = None
    for _ in range(CLOCK_READINGS):
        before = time.monotonic()
        cursor.execute("SELECT clock_timestamp()")
        took = time.monotonic() - before
        epoch = cursor.fetchone()[0] - timedelta(seconds=before + took / 2)
        best = min(best or (took, epoch), (took, epoch))
    assert best is not None
    return best[1]


def _values(row: Row) -> dict[str, Any]:
    return {
        "id": row.id,
        "received": row.ended - row.seconds,
        "outcome": row.outcome,
        "scope": row.scope,
        "key_digest": row.key_digest,
        "subject": row.subject,
        "request_id": row.request_id,
        "milliseconds": round(row.seconds * 1000, 1),
        "waited_milliseconds": round(row.waited_seconds * 1000, 1),
        "steps": [(step.name, step.rows, step.ms) for step in row.steps],
    }


class Writer(threading.Thread):
    """Flushes a recorder every JOURNAL_SECONDS until it is stopped; then once more."""

    def __init__(self, recorder: Recorder, *, seconds: float) -> None:
        super().__init__(name="journal", daemon=True)
        self._recorder = recorder
        self._seconds = seconds
        self._ending = threading.Event()
        self._dropped = 0  # that the log knows of

    def run(self) -> None:
        """Write until `stop`; on a connection that is closed once nothing is to be written."""
        while not self._ending.wait(self._seconds):
            self._write()
        self._write()
        connections.close_all()

    def stop(self) -> None:
        """Flush once more, and wait for it; a repeated call does nothing."""
        self._ending.set()
        self.join(LAST_SECONDS_MAX)

    def _write(self) -> None:
        is_busy = False
        try:
            is_busy = self._recorder.flush()
        except Exception as error:  # no database, or no table yet: written later
            log.warning("the journal is not written yet: %s", str(error).strip() or repr(error))
        if not is_busy:
            connections.close_all()
        if (dropped := self._recorder.dropped) != self._dropped:
            log.warning("the journal dropped %d rows", dropped - self._dropped)
            self._dropped = dropped


RECORDER = Recorder()

_writer: Writer | None = None
_starting = threading.Lock()


def record(row: Row) -> bool:
    """Journal a request, and see to it that the process has its writer; False: it is dropped."""
    added = RECORDER.add(row)
    if (seconds := conf().JOURNAL_SECONDS) is not None and not _is_running():
        _start(seconds)
    return added


def flush() -> None:
    """Write the rows of this process now, on the caller's connection."""
    RECORDER.flush()


def _is_running() -> bool:
    return _writer is not None and _writer.is_alive()  # a fork's copy of it is not


def _start(seconds: float) -> None:
    global _writer  # noqa: PLW0603 - the process has one
    with _starting:
        if not _is_running():
            _writer = Writer(RECORDER, seconds=seconds)
            _writer.start()


@atexit.register
def _stop() -> None:
    if _writer is not None and _writer.is_alive():
        _writer.stop()
