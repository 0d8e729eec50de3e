"""Synchronous replication without a standby: a COMMIT waits, and is not acknowledged meanwhile."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.support.live import Caller, until
from tests.support.outages import Response, Shop, open_shop
from tests.support.own_postgres import OwnPostgres, own_postgres

RESPONSE_SECONDS = 4
RELOAD = "SELECT pg_reload_conf()"
WAITING = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query = 'COMMIT'"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: Any) -> Iterator[Shop]:
    """A shop whose role has a `statement_timeout` that is over long before a standby is there."""
    folder: Path = tmp_path_factory.mktemp("standby")
    behind_a_pooler = {
        "DATABASE_POOLER": "true",
        "DATABASE_RESPONSE_SECONDS": str(RESPONSE_SECONDS),
    }
    with own_postgres() as postgres:
        postgres.execute("ALTER ROLE shop SET statement_timeout = '500ms'", dbname="postgres")
        with open_shop(postgres, folder, workers=2, threads=8, **behind_a_pooler) as shop:
            yield shop


@contextmanager
def without_a_standby(postgres: OwnPostgres) -> Iterator[None]:
    """Have every COMMIT wait for a standby, for the block."""
    postgres.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'", RELOAD)
    try:
        until(lambda: postgres.execute("SHOW synchronous_standby_names") == [("nobody",)])
        yield
    finally:
        postgres.execute("ALTER SYSTEM RESET synchronous_standby_names", RELOAD)


def charge(shop: Shop, order: str) -> Response:
    """Charge bob's account: alice's is locked by her payment."""
    account = shop.seeded["users"][1]["accounts"][0]["id"]
    body = {"order_id": order, "account_id": account, "amount": 5, "currency": "EUR"}
    return Caller(shop.server.url, shop.seeded["service_token"]).post("/api/v1/payments/", body)


def test_a_commit_that_no_standby_has_is_not_acknowledged(shop: Shop) -> None:
    """Neither is it cancelled: `statement_timeout` is over before the wait begins."""
    order = shop.order()
    assert (shop.place(by=1).status, charge(shop, str(uuid4())).status) == (201, 201)
    balance = shop.balance()  # the first use of a token this hour is noted: not among the commits
    keys = {"place": uuid4().hex, "pay": uuid4().hex}
    writes: dict[str, Callable[[], Response]] = {
        "place": partial(shop.place, key=keys["place"], by=1),
        "pay": partial(shop.pay, order, key=keys["pay"]),
        "charge": partial(charge, shop, str(uuid4())),
    }
    with ThreadPoolExecutor(len(writes)) as pool, without_a_standby(shop.postgres):
        sent: dict[str, Future[Response]] = {
            what: pool.submit(write) for what, write in writes.items()
        }
        until(lambda: len(shop.postgres.execute(WAITING)) == len(writes), what="commits wait")
        first = {what: each.result().status for what, each in sent.items()}
        still_waiting = len(shop.postgres.execute(WAITING))
        meanwhile = {what: write().status for what, write in writes.items()}
    until(lambda: not shop.postgres.execute(WAITING), what="the commits are acknowledged")
    until(shop.serves, what="the shop serves")
    later = {what: write() for what, write in writes.items()}

    assert first == dict.fromkeys(writes, 503)
    assert still_waiting == len(writes)
    assert not {status for status in meanwhile.values() if status < 400}
    assert {what: each.status for what, each in later.items()} == {
        "place": 201,
        "pay": 200,
        "charge": 200,
    }
    assert {each.headers["Idempotent-Replayed"] for each in later.values()} == {"true"}
    assert balance - shop.balance() == later["pay"].json()["amount"]
    shop.postgres.manage("audit")
