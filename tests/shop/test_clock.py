"""A server whose clock is half an hour wrong: the database's decides, and nobody notices."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
import urllib3
from django.contrib.auth.models import User
from django.db import connection

from idempotency.models import Record
from idempotency.purge import delete_tombstones, purge_records
from idempotency.tests.support import age, uuid7
from operations.audit import check_invariants
from orders.models import Order, Product
from payments.models import Account
from tests.support.api_tokens import api_token_of
from tests.support.browserless import signed_in
from tests.support.live import Caller, LiveServer

pytestmark = pytest.mark.django_db(transaction=True)

HALF_AN_HOUR = 30 * 60
OFF_SECONDS_MAX = 120  # of a time by the database's clock, on a slow machine


@pytest.fixture(params=[-HALF_AN_HOUR, HALF_AN_HOUR], ids=["behind", "ahead"])
def skewed(request: Any, tmp_path: Path) -> Iterator[LiveServer]:
    live = LiveServer(database=connection.get_connection_params(), folder=tmp_path, workers=1)
    live.environment["CLOCK_SKEW_SECONDS"] = str(request.param)
    with live:
        yield live


def api(live: LiveServer, user: User) -> Caller:
    return Caller(live.url, api_token_of(user))


def is_now(moment: datetime | str) -> bool:
    given = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return abs((datetime.now(UTC) - given).total_seconds()) < OFF_SECONDS_MAX


def test_the_server_is_really_skewed(skewed: LiveServer) -> None:
    """The fault has hit: HTTP's own Date header is by the wrong clock."""
    date = urllib3.request("GET", f"{skewed.url}/healthz").headers["Date"]
    off = abs((parsedate_to_datetime(date) - datetime.now(UTC)).total_seconds())
    assert HALF_AN_HOUR - OFF_SECONDS_MAX < off < HALF_AN_HOUR + OFF_SECONDS_MAX


def test_a_token_is_issued_used_and_replayed(
    skewed: LiveServer, alice: User, alice_account: Account, product: Product
) -> None:
    caller, body = api(skewed, alice), {"lines": [{"sku": product.sku, "quantity": 1}]}
    issued = caller.post("/api/v1/tokens/").json()
    assert is_now(datetime.fromisoformat(issued["expires_at"]) - timedelta(minutes=30))

    placed = caller.post("/api/v1/orders/", body, key=issued["token"])
    assert placed.status == 201
    assert is_now(placed.json()["created_at"])
    assert is_now(placed.json()["updated_at"])
    pay, key = f"{placed.headers['Location']}pay/", caller.post("/api/v1/tokens/").json()["token"]
    paid = caller.post(pay, {"account": alice_account.pk}, key=key)
    assert (paid.status, is_now(paid.json()["updated_at"])) == (200, True)

    replay = caller.post(pay, {"account": alice_account.pk}, key=key)
    assert (replay.headers["Idempotent-Replayed"], replay.data) == ("true", paid.data)
    assert not any(finding.breaches for finding in check_invariants())


def test_a_pages_pay_click_pays(
    skewed: LiveServer, alice: User, alice_account: Account, order: Order
) -> None:
    alice.set_password("a-right-password")
    alice.save()
    browser = signed_in(skewed.url, username="alice", password="a-right-password")
    form = browser.open(f"/orders/{order.pk}/checkout/").form("/pay/")

    pages = [browser.send(form) for _ in range(2)]

    assert [page.path for page in pages] == [f"/orders/{order.pk}/"] * 2
    assert [page.replayed for page in pages] == [False, True]
    order.refresh_from_db()
    assert (order.status, is_now(order.updated_at)) == (Order.Status.PAID, True)


@pytest.mark.parametrize("off", [timedelta(minutes=-30), timedelta(minutes=30)])
def test_a_client_whose_own_clock_is_wrong_too_is_served(
    off: timedelta, skewed: LiveServer, alice: User, product: Product
) -> None:
    """A UUIDv7 key says when it was made: by the client's clock."""
    caller, body = api(skewed, alice), {"lines": [{"sku": product.sku, "quantity": 1}]}
    key = uuid7(datetime.now(UTC) + off)
    first, retry = (caller.post("/api/v1/orders/", body, key=key) for _ in range(2))
    assert (first.status, retry.headers["Idempotent-Replayed"]) == (201, "true")
    purge_records()
    delete_tombstones()
    assert caller.post("/api/v1/orders/", body, key=key).data == first.data


def test_retention_and_purge_go_by_the_databases_clock(
    skewed: LiveServer, alice: User, product: Product
) -> None:
    caller, body = api(skewed, alice), {"lines": [{"sku": product.sku, "quantity": 1}]}
    first = caller.post("/api/v1/orders/", body, key="k")
    assert is_now(Record.objects.get().retained_until - timedelta(days=30))
    age(29)
    assert purge_records() == 0
    assert caller.post("/api/v1/orders/", body, key="k").data == first.data
    age(1)
    assert caller.post("/api/v1/orders/", body, key="k").status == 410
    assert purge_records() == 1
    assert Order.objects.count() == 1


def test_a_rate_ends_by_the_databases_clock(skewed: LiveServer, alice: User) -> None:
    caller = api(skewed, alice)
    assert caller.post("/api/v1/tokens/").status == 201
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE idempotency_ratecount SET count = 1000000, ends_at = ends_at + '1 minute'"
        )
    refused = caller.post("/api/v1/tokens/")
    assert refused.status == 429
    assert 1 <= int(refused.headers["Retry-After"]) <= 120
