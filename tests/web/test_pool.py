"""The request threads: who gets one, and when."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from typing import Any

import pytest

from web.server.pool import FairPool, share_of

SECONDS = 20


class Held:
    """Work that goes on until it is released, and knows which thread it is in."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self.released = threading.Event()

    def __call__(self) -> int:
        self.started.set()
        assert self.released.wait(SECONDS)
        return threading.get_ident()


def submit(pool: FairPool, caller: bytes, work: Callable[[], Any]) -> "Future[Any]":
    """Return what becomes of some work, None if it fails, as soon as its thread is idle."""
    found: list[Any] = [None]
    future: Future[Any] = Future()
    pool.submit(caller, lambda: found.append(work()), lambda: future.set_result(found[-1]))
    return future


@pytest.fixture
def held() -> Iterator[list[Held]]:
    jobs = [Held() for _ in range(20)]
    yield jobs
    for job in jobs:
        job.released.set()


@pytest.mark.parametrize(("threads", "share"), [(1, 1), (2, 1), (3, 1), (4, 2), (16, 8)])
def test_a_caller_leaves_half_of_the_threads_to_others(threads: int, share: int) -> None:
    assert share_of(threads) == share


def test_a_caller_who_waits_on_all_its_threads_holds_up_nobody_else(held: list[Held]) -> None:
    pool = FairPool(4)
    for job in held[:10]:
        submit(pool, b"storm", job)
    for job in held[:2]:
        assert job.started.wait(SECONDS)
    assert submit(pool, b"other", lambda: 7).result(SECONDS) == 7
    assert not held[2].started.is_set()


def test_callers_take_turns(held: list[Held]) -> None:
    pool, order, done = FairPool(2), [], []

    def note(name: bytes) -> "Future[Any]":
        return submit(pool, name, lambda: order.append(name))

    blockers = [submit(pool, bytes([number]), held[number]) for number in range(2)]
    for job in held[:2]:
        assert job.started.wait(SECONDS)
    done += [note(b"a") for _ in range(5)] + [note(b"b"), note(b"c")]
    held[0].released.set()
    for future in done:
        future.result(SECONDS)
    assert order == [b"a", b"b", b"c", b"a", b"a", b"a", b"a"]
    held[1].released.set()
    assert len({future.result(SECONDS) for future in blockers}) == 2


def test_everything_a_caller_submits_is_done_in_the_end() -> None:
    pool = FairPool(3)
    futures = [submit(pool, bytes([n % 5]), partial(int, n)) for n in range(500)]
    assert [future.result(SECONDS) for future in futures] == list(range(500))


def test_the_thread_that_was_started_first_works_first(held: list[Held]) -> None:
    pool = FairPool(4)
    futures = [submit(pool, bytes([number]), held[number]) for number in range(4)]
    for job in held[:4]:
        assert job.started.wait(SECONDS)
    first = held[0]
    first.released.set()
    ident = futures[0].result(SECONDS)
    for job in held[1:4]:
        job.released.set()
    for future in futures:
        future.result(SECONDS)
    assert {submit(pool, b"x", threading.get_ident).result(SECONDS) for _ in range(20)} == {ident}


def test_an_error_is_its_own_work_s_alone() -> None:
    pool = FairPool(1)
    assert submit(pool, b"", lambda: 1 // 0).result(SECONDS) is None
    assert submit(pool, b"", lambda: 1).result(SECONDS) == 1
