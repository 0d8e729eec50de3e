"""Which worker takes a new connection: the one that has the fewest.

By themselves the first to wake up takes it, and then the next: of two workers one had all of eight
customers, on one core, while the other waited.
"""

import mmap
import time
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

WORKERS_MAX = 64  # that count each other; any more take what comes
FREE, CLOSED = -2, -1  # no worker has this place; its worker accepts nothing, or not yet
PATIENCE_SECONDS = 0.005  # for the worker that has the fewest to take it

# The connections of each worker, in memory that the arbiter and its workers share.
counts = memoryview(mmap.mmap(-1, 4 * WORKERS_MAX)).cast("i")
for number in range(WORKERS_MAX):
    counts[number] = FREE


class BalancedWorker(ThreadWorker):  # type: ignore[misc]
    """Leaves a connection to a worker that has fewer, and takes it if nobody does."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take a place; still in the arbiter, so no two take the same."""
        super().__init__(*args, **kwargs)
        self.place = next((n for n, count in enumerate(counts) if count == FREE), None)
        self.patient_until: float | None = None
        self._count(CLOSED)

    def give_place_back(self) -> None:
        """Have another worker take its place; called in the arbiter once this one has ended."""
        self._count(FREE)

    def _count(self, connections: int) -> None:
        if self.place is not None:
            counts[self.place] = connections

    def leaves_it_to_another(self) -> bool:
        """Return True if a waiting connection is not to be taken yet; asked once for each."""
        if self.patient_until is None and any(0 <= count < self.nr_conns for count in counts):
            self.patient_until = time.monotonic() + PATIENCE_SECONDS
            super().set_accept_enabled(False)
            return True
        return False

    def set_accept_enabled(self, enabled: bool) -> None:
        """Accept, or don't, but not while another worker may; gthread calls this in its loop."""
        super().set_accept_enabled(enabled and not self._patience())

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Wait no longer than the patience lasts; it ends with what is there in the first turn."""
        self._count(self.nr_conns if self.alive else CLOSED)
        was_patient = self._accepting and self.patient_until is not None
        super().wait_for_and_dispatch_events(min(timeout, self._patience() or timeout))
        if was_patient:
            self.patient_until = None

    def _patience(self) -> float:
        """Return how many seconds of it are left."""
        return 0 if self.patient_until is None else max(0, self.patient_until - time.monotonic())
