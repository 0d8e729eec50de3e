"""The request threads: callers take turns, and no caller occupies all of them."""

import threading
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from heapq import heappop, heappush
from queue import SimpleQueue
from typing import NamedTuple

from web.server.warm import keep_warm


class Job(NamedTuple):
    caller: bytes
    work: Callable[[], None]
    done: Callable[[], None]


def share_of(threads: int) -> int:
    """Return how many of the threads one caller may occupy: half.

    The others are for others, and wait for the interpreter behind no more threads than that.
    """
    return max(1, threads // 2)


class FairPool:
    """Threads that take the next request of each waiting caller in turn.

    The idle thread that was started first works first: so the database sessions of the first few
    stay warm, and those of threads that only a storm needs fall idle and are given back.
    """

    def __init__(self, threads: int) -> None:
        self.threads_max = threads
        self.share = share_of(threads)
        self.started = 0
        self.idle: list[tuple[int, SimpleQueue[Job]]] = []  # a heap
        self.running: Counter[bytes] = Counter()
        self.waiting: dict[bytes, deque[Job]] = {}  # the caller whose turn is next comes first
        self.lock = threading.Lock()

    def submit(self, caller: bytes, work: Callable[[], None], done: Callable[[], None]) -> None:
        """Run some work of a caller in a thread, when it is this caller's turn.

        Then the thread calls `done`, which may not fail, even where the work did.
        """
        with self.lock:
            self.waiting.setdefault(caller, deque()).append(Job(caller, work, done))
            if self.idle or self.started < self.threads_max:
                self._start_next()

    def shutdown(self, wait: bool = True) -> None:
        """Do nothing: gthread has waited for its requests, and the threads end with the process."""

    def _start_next(self) -> None:
        if (job := self._next()) is None:
            return
        if self.idle:
            heappop(self.idle)[1].put(job)
            return
        self.started += 1
        threading.Thread(target=self._work, args=(self.started, job), daemon=True).start()

    def _next(self) -> Job | None:
        """Take the next job of the first caller that may have one more thread."""
        for caller, jobs in self.waiting.items():
            if self.running[caller] >= self.share:
                continue
            job = jobs.popleft()
            del self.waiting[caller]
            if jobs:
                self.waiting[caller] = jobs  # at the end of the line
            self.running[caller] += 1
            return job
        return None

    def _work(self, number: int, first: Job) -> None:
        keep_warm(number)
        inbox: SimpleQueue[Job] = SimpleQueue()
        job: Job | None = first
        while True:
            job = job or inbox.get()
            with suppress(BaseException):
                job.work()
            done = job.done
            job = self._next_after(job.caller, (number, inbox))
            done()  # last: the client's next request finds this thread idle

    def _next_after(self, caller: bytes, thread: "tuple[int, SimpleQueue[Job]]") -> Job | None:
        """Return what this thread does next, or None: it is idle."""
        with self.lock:
            self.running[caller] -= 1
            if not self.running[caller]:
                del self.running[caller]
            job = self._next()
            if job is None:
                heappush(self.idle, thread)
            return job
