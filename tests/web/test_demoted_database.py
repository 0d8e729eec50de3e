"""A database that refuses to write, as a demoted primary does, and one that is gone."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import urllib3

from tests.support.live import Caller, until
from tests.support.outages import (
    LATER_SECONDS_MAX,
    RECOVERY_SECONDS_MAX,
    Response,
    Shop,
    open_shop,
    seconds_until,
    timed,
)
from tests.support.own_postgres import own_postgres

Calls = dict[str, Callable[[], Response]]
ALLOW_WRITES = "SET default_transaction_read_only = off"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: Any) -> Iterator[Shop]:
    folder: Path = tmp_path_factory.mktemp("demoted")
    with own_postgres() as postgres, open_shop(postgres, folder, workers=2, threads=8) as shop:
        yield shop


@contextmanager
def read_only(shop: Shop) -> Iterator[None]:
    """Have the server refuse all writes for the block, in sessions that are open too."""
    allow, reload = "ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()"
    shop.postgres.execute("ALTER SYSTEM SET default_transaction_read_only = on", reload)
    try:
        until(lambda: shop.place().status == 503, what="writes are refused")
        yield
    finally:
        shop.postgres.execute(ALLOW_WRITES, allow, reload)


def charge(shop: Shop) -> Response:
    body = {"order_id": str(uuid4()), "account_id": shop.body["account"], "amount": 5}
    service = Caller(shop.server.url, shop.seeded["service_token"])
    return service.post("/api/v1/payments/", body | {"currency": "EUR"})


class Browser:
    """A signed-in customer's browser, as far as cookies and forms go."""

    def __init__(self, shop: Shop) -> None:
        self.url, self.cookies = shop.server.url, dict[str, str]()
        self.credentials = {"username": "alice", "password": shop.seeded["users"][0]["password"]}

    def get(self, path: str) -> Response:
        return self._send("GET", path)

    def submit(self, path: str, **fields: str) -> Response:
        token = self.cookies["csrftoken"]
        return self._send("POST", path, fields={"csrfmiddlewaretoken": token} | fields)

    def sign_in(self) -> Response:
        self.get("/sign-in/")
        return self.submit("/sign-in/", **self.credentials)

    def _send(self, method: str, path: str, **options: Any) -> Response:
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        response = urllib3.request(
            method,
            self.url + path,
            headers={"Cookie": cookies},
            redirect=False,
            retries=False,
            **options,
        )
        for cookie in response.headers.getlist("Set-Cookie"):
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        return response


def test_a_demoted_database_is_503_for_writes_and_serves_reads_and_replays(shop: Shop) -> None:
    order, unpaid, key = shop.order(), shop.order(), uuid4().hex
    paid, balance, workers = shop.pay(order, key=key), shop.balance(), shop.workers()
    refused_key = uuid4().hex
    writes: Calls = {
        "place": shop.place,
        "pay": partial(shop.pay, unpaid, key=refused_key),
        "sign in": shop.sign_in,
        "token": partial(shop.alice.post, "/api/v1/tokens/"),
        "charge": partial(charge, shop),
    }
    with read_only(shop):
        received = [timed(what, write) for what, write in writes.items()]
        reads = [shop.get(path) for path in ("/api/v1/orders/", "/api/v1/accounts/", "/readyz")]
        replay, still = shop.pay(order, key=key), shop.balance()
    recovery = seconds_until(shop.serves, what="the shop serves")
    later = shop.pay(unpaid, key=refused_key)

    assert {each.what: each.status for each in received} == dict.fromkeys(writes, 503)
    assert {each.headers["Retry-After"] for each in received} == {"2"}
    assert max(each.seconds for each in received) < LATER_SECONDS_MAX
    assert {each.status for each in reads} == {200}
    assert (replay.status, replay.data) == (200, paid.data)
    assert still == balance
    assert recovery < RECOVERY_SECONDS_MAX
    assert (later.status, shop.workers()) == (200, workers)
    shop.postgres.manage("audit")


def test_a_demoted_database_is_a_503_page_for_whoever_signs_in_or_changes_the_basket(
    shop: Shop,
) -> None:
    inside, outside = Browser(shop), Browser(shop)
    assert inside.sign_in().status == 302
    with read_only(shop):
        shown = [inside.get(path) for path in ("/", "/basket/", "/orders/")]
        refused = [
            outside.sign_in(),
            inside.submit("/basket/", sku="TEA", quantity="1"),
            inside.submit("/sign-out/"),
        ]
    until(shop.serves, what="the shop serves")

    assert {page.status for page in shown} == {200}
    assert {page.status for page in refused} == {503}
    assert {page.headers["Retry-After"] for page in refused} == {"2"}
    assert all(b"<!doctype html>" in page.data for page in refused)
    assert outside.sign_in().status == 302


def test_a_database_that_is_gone_is_503_in_time_and_served_once_it_is_back(shop: Shop) -> None:
    order, key, workers = shop.order(), uuid4().hex, shop.workers()
    calls: Calls = {
        "pay": partial(shop.pay, order, key=key),
        "read": partial(shop.get, "/api/v1/orders/"),
        "sign in": shop.sign_in,
        "page": partial(shop.get, "/"),
        "ready": partial(shop.get, "/readyz"),
    }
    shop.postgres.cluster.stop()
    try:
        received = [timed(what, call) for what, call in calls.items()]
        health, metrics = shop.get("/healthz"), shop.get("/metrics")
    finally:
        shop.postgres.cluster.start()
    recovery = seconds_until(shop.serves, what="the shop serves")

    assert {each.what: each.status for each in received} == dict.fromkeys(calls, 503)
    assert {each.headers["Retry-After"] for each in received} == {"2"}
    assert max(each.seconds for each in received) < LATER_SECONDS_MAX
    assert (health.status, metrics.status) == (200, 200)
    assert b"\ncharge_once_database_up 0.0\n" in metrics.data
    assert recovery < RECOVERY_SECONDS_MAX
    assert (shop.pay(order, key=key).status, shop.workers()) == (200, workers)
