"""A database server that accepts connections and does not respond, as on a frozen host."""

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.support.live import LiveServer, until
from tests.support.outages import (
    IN_FLIGHT_SECONDS_MAX,
    LATER_SECONDS_MAX,
    RECOVERY_SECONDS_MAX,
    Received,
    Response,
    Shop,
    customers,
    open_shop,
    seconds_until,
    timed,
)
from tests.support.own_postgres import own_postgres

FROZEN_SECONDS = 60


@dataclass
class Minute:
    """What the customers got while the database was frozen, and the keys that they sent."""

    order: str
    # One request in flight for each of the four callers: a rate may have one wait for another.
    committed: str = field(default_factory=lambda: uuid4().hex)
    lost: list[str] = field(default_factory=lambda: _keys(2))
    burst: list[str] = field(default_factory=lambda: _keys(200))
    pay_key: str = field(default_factory=lambda: uuid4().hex)
    got_in_flight: list[Received] = field(default_factory=list)
    got_in_burst: list[Received] = field(default_factory=list)
    got_later: list[Received] = field(default_factory=list)
    health: list[Received] = field(default_factory=list)
    recovery_seconds: float = 0
    workers: tuple[set[int], set[int]] = (set(), set())
    balance: int = 0


def _keys(count: int) -> list[str]:
    return [uuid4().hex for _ in range(count)]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: Any) -> Iterator[Shop]:
    folder: Path = tmp_path_factory.mktemp("frozen")
    with own_postgres() as postgres, open_shop(postgres, folder, workers=2, threads=16) as shop:
        yield shop


@pytest.fixture(scope="module")
def minute(shop: Shop) -> Minute:
    """Freeze the database for a minute: under requests in flight, a burst, and steady customers."""
    minute = Minute(order=shop.order(), balance=shop.balance())
    before = shop.workers()
    with ThreadPoolExecutor(220) as pool:
        warm = [pool.submit(shop.place) for _ in range(100)]  # each thread keeps a connection
        assert {each.result().status for each in warm} == {201}
        in_flight = hold_in_flight(shop, minute, pool)
        with shop.postgres.frozen():
            freeze(shop, minute, in_flight, pool)
        minute.recovery_seconds = seconds_until(shop.serves, what="the shop serves")
    minute.workers = before, shop.workers()
    return minute


def freeze(
    shop: Shop, minute: Minute, in_flight: list[Future[Received]], pool: ThreadPoolExecutor
) -> None:
    """Let those in flight go on to a frozen database, and have others come, for a minute."""
    ends = time.monotonic() + FROZEN_SECONDS
    for point in ("executed", "response-stored"):
        shop.server.release(point)
    burst = [pool.submit(timed, "burst", partial(shop.place, key=key)) for key in minute.burst]
    health = customers(1, lambda: timed("health", partial(shop.get, "/healthz")))
    kinds = itertools.cycle(calls(shop).items())
    with customers(16, lambda: timed(*next(kinds))) as later, health as healthy:
        minute.got_in_flight = [each.result() for each in in_flight]
        minute.got_in_burst = [each.result() for each in burst]
        time.sleep(max(0, ends - time.monotonic()))
    minute.got_later, minute.health = later, healthy


def hold_in_flight(shop: Shop, minute: Minute, pool: ThreadPoolExecutor) -> list[Future[Received]]:
    """Have some requests stop before their last write, and some before COMMIT."""
    committed = [
        partial(shop.pay, minute.order, key=minute.pay_key),
        partial(shop.place, key=minute.committed, by=1),
    ]
    lost = [partial(shop.place, key=key, by=by) for by, key in enumerate(minute.lost, 2)]
    held = hold_at(shop.server, "executed", lost, pool)
    return held + hold_at(shop.server, "response-stored", committed, pool)


def hold_at(
    server: LiveServer,
    point: str,
    requests: Sequence[Callable[[], Response]],
    pool: ThreadPoolExecutor,
) -> list[Future[Received]]:
    server.arm(point, "hold", times=len(requests))
    sent = [pool.submit(timed, point, request) for request in requests]
    until(lambda: server.hits(point) == len(requests), what=f"all are held at {point}")
    return sent


def calls(shop: Shop) -> dict[str, Callable[[], Response]]:
    return {
        "place": shop.place,
        "read": partial(shop.get, "/api/v1/orders/"),
        "sign in": shop.sign_in,
        "page": partial(shop.get, "/"),
        "ready": partial(shop.get, "/readyz"),
        "metrics": partial(shop.get, "/metrics"),
    }


def slowest(received: list[Received]) -> float:
    return max(each.seconds for each in received)


def test_requests_in_flight_get_503_with_an_unknown_outcome_within_20_seconds(
    minute: Minute,
) -> None:
    assert len(minute.got_in_flight) == 4
    assert {each.status for each in minute.got_in_flight} == {503}
    for each in minute.got_in_flight:
        problem = each.json()
        assert (problem["outcome"], problem["same_key"]) == ("unknown", True)
        assert problem["retryable"] is True
        assert each.headers["Retry-After"] == "2"
    assert slowest(minute.got_in_flight) < IN_FLIGHT_SECONDS_MAX


def test_whoever_comes_later_gets_503_within_5_seconds_on_every_call_and_page(
    minute: Minute,
) -> None:
    received = minute.got_in_burst + [e for e in minute.got_later if e.what != "metrics"]
    kinds = {each.what: each.headers["Content-Type"].partition(";")[0] for each in received}

    assert {each.status for each in received} == {503}
    assert all(each.headers["Retry-After"] == "2" for each in received)
    assert kinds.pop("page") == "text/html"
    assert set(kinds) == {"burst", "place", "read", "sign in", "ready"}
    assert set(kinds.values()) == {"application/problem+json"}
    assert len(received) > 200 + 16 * 5, "they were served on, for the whole minute"
    assert slowest(received) < LATER_SECONDS_MAX


def test_health_and_metrics_respond_whatever_the_database_does(minute: Minute) -> None:
    metrics = [each for each in minute.got_later if each.what == "metrics"]
    assert metrics
    assert {each.status for each in metrics + minute.health} == {200}
    assert all(b"\ncharge_once_database_up 0.0\n" in each.body for each in metrics)
    assert len(minute.health) > 5
    assert slowest(metrics + minute.health) < LATER_SECONDS_MAX


def test_afterwards_the_same_processes_serve_and_no_session_is_left_in_a_transaction(
    shop: Shop, minute: Minute
) -> None:
    before, after = minute.workers
    assert minute.recovery_seconds < RECOVERY_SECONDS_MAX
    assert after == before
    until(lambda: shop.sessions_in_transaction() == 0, seconds=5, what="no lock is left")

    def statuses() -> set[int]:
        with ThreadPoolExecutor(64) as pool:
            burst = [pool.submit(shop.place) for _ in range(64)]
        return {each.result().status for each in burst}

    # Within the time that recovery may take a thread may still miss the limit for its session.
    until(lambda: statuses() == {201}, seconds=RECOVERY_SECONDS_MAX, what="all threads serve")
    assert statuses() == {201}
    assert shop.workers() == before


def test_a_retry_with_the_same_key_gets_the_one_response_and_charges_once(
    shop: Shop, minute: Minute
) -> None:
    callers = {minute.committed: 1} | dict(zip(minute.lost, (2, 3), strict=True))
    keys = [*callers, *minute.burst]

    def place(key: str) -> Response:
        return shop.place(key=key, by=callers.get(key, 0))

    with ThreadPoolExecutor(16) as pool:
        first, then = (dict(zip(keys, pool.map(place, keys), strict=True)) for _ in range(2))
    paid = shop.pay(minute.order, key=minute.pay_key)

    assert {response.status for response in first.values()} == {201}
    assert {key: r.data for key, r in first.items()} == {key: r.data for key, r in then.items()}
    assert not any(is_replay(first[key]) for key in minute.lost), "they were rolled back"
    assert paid.status == 200
    assert shop.balance() == minute.balance - paid.json()["amount"]
    shop.postgres.manage("audit")


def is_replay(response: Response) -> bool:
    return response.headers.get("Idempotent-Replayed") == "true"


def test_threads_that_are_all_in_flight_are_free_at_the_deadline_and_what_committed_is_replayed(
    shop: Shop, tmp_path: Path
) -> None:
    few = LiveServer(database=shop.postgres.parameters, folder=tmp_path, workers=1, threads=4)
    few.environment |= {"DATABASE_RESPONSE_SECONDS": "3"}
    with few, ThreadPoolExecutor(44) as pool:
        small, keys = Shop(few, shop.postgres, shop.seeded), _keys(4)
        requests = [partial(small.place, key=key, by=by) for by, key in enumerate(keys)]
        in_flight = hold_at(few, "response-stored", requests, pool)
        with shop.postgres.frozen():
            few.release("response-stored")
            later = [pool.submit(timed, "place", small.place) for _ in range(40)]
            health = timed("health", partial(small.get, "/healthz"))
            received = [each.result() for each in in_flight + later]
        seconds_until(small.serves, what="the shop serves")
        retries = [small.place(key=key, by=by) for by, key in enumerate(keys)]
    until(shop.serves, what="the other server serves")

    assert {each.status for each in received} == {503}
    assert min(each.seconds for each in received[:4]) > 2.9, "all threads were held"
    assert health.status == 200
    assert slowest([*received, health]) < 3 + LATER_SECONDS_MAX
    # The server woke before its own timeouts and found the COMMITs that nobody waited for.
    assert all(map(is_replay, retries))
