"""Replays and conflicts by the hour, for the plot on the operations dashboard.

A replay writes nothing: a request only adds to a number in the memory of its process. A thread of
every web worker brings what came together there to the database, every few seconds and once more
at the worker's end. A database that is down is tried again, and nothing is lost meanwhile.

It is a statistic. What a killed process counted in its last seconds is lost, and an addition whose
answer is lost is made again, so that it may count twice. Exact counters are at /metrics.
"""

import threading
from collections import Counter
from datetime import UTC, datetime

import structlog
from django.db import connection
from django.utils import timezone

from operations.models import HourlyCount

log = structlog.get_logger("hourly")

PAUSE_SECONDS = 5.0
LAST_SECONDS = 5.0  # how long a worker's end waits for the last addition
KEPT_DAYS = 30

Kind = HourlyCount.Kind
Slot = tuple[datetime, str]

# In one statement, so that all of it happens or nothing. Sorted: two workers lock in one order.
ADD = """
WITH forgotten AS (
    DELETE FROM operations_hourlycount WHERE hour < now() - make_interval(days => %(days)s))
INSERT INTO operations_hourlycount AS kept (hour, kind, count)
SELECT hour, kind, count
  FROM unnest(%(hours)s::timestamptz[], %(kinds)s::text[], %(counts)s::bigint[])
       AS counted (hour, kind, count)
 WHERE hour >= now() - make_interval(days => %(days)s)
 ORDER BY hour, kind
    ON CONFLICT (hour, kind) DO UPDATE SET count = kept.count + excluded.count
"""


def this_hour() -> datetime:
    """Return when the present hour began, in UTC."""
    return timezone.now().astimezone(UTC).replace(minute=0, second=0, microsecond=0)


class Tally:
    """What was counted in this process and is not in the database yet."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: Counter[Slot] = Counter()

    def add(self, kind: str) -> None:
        """Count one in memory; a repeated call counts another one."""
        slot = this_hour(), kind
        with self._lock:
            self._waiting[slot] += 1

    def flush(self) -> None:
        """Add to the database what was counted; a repeated call adds what came since.

        Whatever goes wrong, it is kept for the next call. A commit whose answer was lost goes
        wrong too: that addition counts twice.
        """
        with self._lock:
            taken, self._waiting = self._waiting, Counter()
        if not taken:
            return
        try:
            _write(taken)
        except BaseException:
            with self._lock:
                self._waiting.update(taken)
            raise


def _write(taken: Counter[Slot]) -> None:
    hours, kinds = zip(*taken, strict=True)
    row = {"hours": list(hours), "kinds": list(kinds), "counts": list(taken.values())}
    with connection.cursor() as cursor:
        cursor.execute(ADD, row | {"days": KEPT_DAYS})


class Writer(threading.Thread):
    """Brings a tally to the database every few seconds, until it is stopped; then once more."""

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
        """Have what was counted written once more, and wait for it; a repeat finds it ended."""
        self._ending.set()
        self.join(LAST_SECONDS)

    def _write(self) -> None:
        try:
            self.tally.flush()
        except Exception as error:  # no database, no table yet: the next time is soon
            log.warning("not written yet", error=str(error).strip() or type(error).__name__)
        finally:
            connection.close()


TALLY = Tally()


def start() -> Writer:
    """Start to write what this process counts; for web workers, each once."""
    writer = Writer(TALLY)
    writer.start()
    return writer
