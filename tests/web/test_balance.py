"""Which worker takes a new connection: the one that has the fewest."""

import os
import runpy
import selectors
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection
from gunicorn.config import Config
from gunicorn.glogging import Logger
from prometheus_client import multiprocess

from tests.support.live import ROOT, LiveServer, descendants, sockets_of, until
from web.server import balance
from web.server.balance import CLOSED, FREE, PATIENCE_SECONDS, WORKERS_MAX, BalancedWorker


class Worker(BalancedWorker):
    """A worker of this process, whose loop takes a turn when the test says so."""

    def __init__(self, listener: socket.socket) -> None:
        cfg = Config()
        super().__init__(1, os.getpid(), [listener], None, 60, cfg, Logger(cfg))
        self.poller = selectors.DefaultSelector()
        self.clients: list[socket.socket] = []

    def accept(self, listener: socket.socket) -> None:
        if not self.leaves_it_to_another():
            self.clients.append(listener.accept()[0])
            self.nr_conns += 1

    def turn(self) -> None:
        """Do what gthread's loop does in one turn, without waiting."""
        if not self._accepting:
            self.set_accept_enabled(True)
        self.wait_for_and_dispatch_events(0)


class Clock:
    """The balance's time, which passes when the test says so."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(balance, "time", clock)
    return clock


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture
def connect(listener: socket.socket) -> Iterator[Callable[[], None]]:
    clients: list[socket.socket] = []
    yield lambda: clients.append(socket.create_connection(listener.getsockname()))
    for client in clients:
        client.close()


@pytest.fixture
def start(listener: socket.socket, clock: Clock) -> Iterator[Callable[[], Worker]]:
    """Start workers; the counts of this process are those of a server without any before."""
    workers: list[Worker] = []

    def start() -> Worker:
        workers.append(Worker(listener))
        return workers[-1]

    yield start
    for worker in workers:
        worker.give_place_back()
        worker.poller.close()
        worker.tmp.close()
        for client in worker.clients:
            client.close()
    assert set(balance.counts) == {FREE}


def test_of_two_workers_each_takes_half(start: Any, connect: Any, clock: Clock) -> None:
    first, second = start(), start()
    for worker in (first, second):
        worker.turn()
    for _ in range(6):
        connect()
        first.turn()  # always the first to wake up
        second.turn()
        clock.now += PATIENCE_SECONDS
        first.turn()

    assert (first.nr_conns, second.nr_conns) == (3, 3)


def test_patience_that_was_not_in_vain_begins_anew(start: Any, connect: Any, clock: Clock) -> None:
    first, second = start(), start()
    second.turn()
    first.nr_conns = 5
    for expected in (1, 2, 3):
        connect()
        first.turn()
        second.turn()
        clock.now += PATIENCE_SECONDS
        first.turn()  # nobody is there any more
        assert (first.nr_conns, second.nr_conns) == (5, expected)


def test_what_the_one_with_the_fewest_does_not_take_is_taken(
    start: Any, connect: Any, clock: Clock
) -> None:
    first, frozen = start(), start()
    frozen.turn()
    for expected in (1, 2, 3):
        connect()
        for _ in range(3):
            first.turn()
        assert first.nr_conns == max(1, expected - 1)  # the very first has nobody to wait for
        clock.now += PATIENCE_SECONDS
        first.turn()
        assert first.nr_conns == expected


def test_a_worker_waits_no_longer_than_its_patience(start: Any, clock: Clock) -> None:
    first, frozen = start(), start()
    frozen.turn()
    timeouts: list[float] = []

    def select(timeout: float) -> list[Any]:
        timeouts.append(timeout)
        return []

    first.poller = SimpleNamespace(
        select=select,
        unregister=lambda _: None,
        register=lambda *_: None,
        close=first.poller.close,
    )
    first.nr_conns = 1
    first.wait_for_and_dispatch_events(1)
    assert first.leaves_it_to_another()
    first.wait_for_and_dispatch_events(1)
    clock.now += PATIENCE_SECONDS
    first.wait_for_and_dispatch_events(1)

    assert timeouts == [1, pytest.approx(PATIENCE_SECONDS), 1]


@pytest.mark.parametrize("count", [CLOSED, FREE])
def test_a_worker_that_accepts_nothing_is_left_nothing(
    start: Any, connect: Any, count: int
) -> None:
    first, other = start(), start()
    assert balance.counts[other.place] == CLOSED  # until its loop begins
    if count == FREE:
        other.give_place_back()
    else:
        other.turn()
        other.alive = False
        other.turn()
    for _ in range(3):
        connect()
        first.turn()

    assert first.nr_conns == 3


def test_more_workers_than_places_take_what_comes(start: Any, connect: Any) -> None:
    workers = [start() for _ in range(WORKERS_MAX + 1)]
    assert workers[-1].place is None
    for _ in range(2):
        connect()
        workers[-1].turn()

    assert workers[-1].nr_conns == 2


def test_the_arbiter_gives_an_ended_workers_place_back(
    start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multiprocess, "mark_process_dead", lambda _: None)
    worker = start()
    hooks = runpy.run_path(str(ROOT / "config" / "gunicorn.py"))

    hooks["child_exit"](None, worker)

    assert balance.counts[worker.place] == FREE


@pytest.mark.django_db(transaction=True)
def test_a_servers_workers_have_as_many_clients_each(tmp_path: Path) -> None:
    database = connection.get_connection_params()
    with (
        LiveServer(database=database, folder=tmp_path, workers=2) as server,
        ExitStack() as clients,
    ):
        idle = {pid: sockets_of(pid) for pid in descendants(server.process.pid)}

        def connect() -> None:
            clients.enter_context(socket.create_connection(("127.0.0.1", server.port)))

        def taken() -> list[int]:
            return sorted(sockets_of(pid) - before for pid, before in idle.items())

        def do_both_accept() -> bool:
            connect()
            return taken()[0] > 0

        until(do_both_accept, what="both workers accept connections")
        for frozen in idle:  # in turn: by themselves, one of them is the faster
            clients.close()
            until(lambda: taken() == [0, 0], what="both have noticed that their clients are gone")
            os.kill(frozen, signal.SIGSTOP)
            for _ in range(10):
                connect()
            until(lambda: taken() == [0, 10], what="the other one has taken all")
            os.kill(frozen, signal.SIGCONT)
            for _ in range(10):
                connect()
            until(lambda: sum(taken()) == 20, what="all are connected")
            fewest, most = taken()
            assert most - fewest <= 4  # one may be taken late, and two at the same moment
