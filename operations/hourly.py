"""Replays and conflicts by the hour, for the plot on the operations dashboard.

A replay writes nothing: a request only adds to a number in the memory of its process. A thread of
every web worker adds these numbers to the database, every few seconds and once more at the worker's
end. While the database is down it retries, and loses nothing.

It is a statistic. The last seconds of a killed process are lost. An addition is retried when the
response to its commit is lost, so it may count twice. Exact counters are at /metrics.
"""

import threading
from collections import Counter
from datetime import UTC, datetime

import structlog
from django.db import connection
from django.utils import timezone

log = structlog.get_logger("hourly")

PAUSE_SECONDS = 5.0
LAST_SECONDS_MAX = 5.0  # of a worker's end that waits for the last addition
RETENTION_DAYS = 30

Slot = tuple[datetime, str]

# In one statement, so that all of it happens or nothing. Sorted: two workers lock in one order.
ADD = """
WITH expired AS (
    DELETE FROM operations_hourlycount WHERE hour < now() - make_interval(days => %(days)s))
INSERT INTO operations_hourlycount AS stored (hour, kind, count)
SELECT hour, kind, count
  FROM unnest(%(hours)s::timestamptz[], %(kinds)s::text[], %(counts)s::bigint[])
       AS counted (hour, kind, count)
 WHERE hour >= now() - make_interval(days => %(days)s)
 ORDER BY hour, kind
    ON CONFLICT (hour, kind) DO UPDATE SET count = stored.count + excluded.count
"""


def this_hour() -> datetime:
    """Return the start of the present hour, in UTC."""
    return timezone.now().astimezone(UTC).replace(minute=0, second=0, microsecond=0)


class Tally:
    """The counts of this process that are not in the database yet."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: Counter[Slot] = Counter()

    def add(self, kind: str) -> None:
        """Count one in memory; a repeated call counts another one."""
        slot = this_hour(), kind
        with self._lock:
            self._waiting[slot] += 1

    def flush(self) -> None:
        """Add the counts to the database; a repeated call adds only what was counted since.

        After any error the counts stay for the next call. A commit whose response is lost is an
        error too: that addition counts twice.
        """
        with self._lock:
            counts, self._waiting = self._waiting, Counter()
        if not counts:
            return
        try:
            _write(counts)
        except BaseException:
            with self._lock:
                self._waiting.update(counts)
            raise


def _write(counts: Counter[Slot]) -> None:
    hours, kinds = zip(*counts, strict=True)
    row = {"hours": list(hours), "kinds": list(kinds), "counts": list(counts.values())}
    with connection.cursor() as cursor:
        cursor.execute(ADD, row | {"days": RETENTION_DAYS})


class Writer(threading.Thread):
    """Flushes a tally to the database every few seconds until it is stopped; then once more."""

    def __init__(self, tally: Tally, *, pause: float = PAUSE_SECONDS) -> None:
        super().__init__(name="hourly counts", daemon=True)
        self.tally = tally
        self.pause = pause
        self._ending = threading.Event()

    def run(self) -> None:
        """Write until `stop`; each time on a connection that is closed at once."""
        while not self._ending.wait(self.pause):
            self._write()
        self._write()

    def stop(self) -> None:
        """Flush once more, and wait for it; a repeated call does nothing."""
        self._ending.set()
        self.join(LAST_SECONDS_MAX)

    def _write(self) -> None:
        try:
            self.tally.flush()
        except Exception as error:  # no database, or no table yet: retried soon
            log.warning("not written yet", error=str(error).strip() or type(error).__name__)
        finally:
            connection.close()


TALLY = Tally()


def start() -> Writer:
    """Start to write the counts of this process; for web workers, each once."""
    writer = Writer(TALLY)
    writer.start()
    return writer
