"""One caller can't fill the disk: a rate on every call that writes, exact at a real server."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from rest_framework.test import APIClient

from idempotency.models import Record
from orders.models import Order, Product
from payments.models import Account, Entry, Payment
from shop.baskets import digest
from shop.models import Basket
from tests.conftest import LONG_WINDOW, OPENING
from tests.support.api_tokens import api_token_of
from tests.support.live import Caller, LiveServer

RATE = "EXECUTION_RATE"


@pytest.fixture
def service() -> User:
    service = User.objects.create_user("relay")
    service.user_permissions.add(Permission.objects.get(codename="charge"))
    return service


def statuses(responses: list[Any]) -> dict[int, int]:
    found = [response.status for response in responses]
    return {status: found.count(status) for status in set(found)}


@pytest.mark.django_db(transaction=True)
def test_forty_orders_at_once_with_a_rate_of_ten_are_ten_orders(
    alice: User, bob: User, product: Product, tmp_path: Path
) -> None:
    body = {"lines": [{"sku": product.sku, "quantity": 1}]}
    live = LiveServer(database=connection.get_connection_params(), folder=tmp_path)
    live.environment["WRITES_PER_MINUTE"] = "10"
    with live, ThreadPoolExecutor(40) as threads:
        callers = {user: Caller(live.url, api_token_of(user)) for user in (alice, bob)}

        def place(number: int) -> Any:
            return callers[alice].post("/api/v1/orders/", body, key=f"k{number}")

        responses = list(threads.map(place, range(40)))
        minute = {response.headers["Date"][:22] for response in responses}
        others = callers[bob].post("/api/v1/orders/", body, key="k0").status
        first = next(number for number in range(40) if responses[number].status == 201)
        replay = place(first)

    refused = [response for response in responses if response.status == 429]
    assert len(minute) > 1 or statuses(responses) == {201: 10, 429: 30}
    assert statuses(responses).keys() == {201, 429}
    assert len(responses) - len(refused) == Order.objects.filter(customer=alice).count()
    assert Order.objects.count() == Record.objects.count() == len(responses) - len(refused) + 1
    assert all(1 <= int(response.headers["Retry-After"]) <= 60 for response in refused)
    assert {response.json()["type"] for response in refused} == {"/problems/rate-limited"}
    assert {response.json()["same_key"] for response in refused} == {True}
    assert others == 201
    assert replay.headers["Idempotent-Replayed"] == "true" or replay.status == 201


@pytest.mark.django_db(transaction=True)
def test_a_service_charges_so_often_and_its_replays_are_free(
    service: User, alice_account: Account, settings: Any
) -> None:
    settings.CHARGE_RATE = (2, LONG_WINDOW)
    client = APIClient()
    client.force_authenticate(service)
    wanted = [
        {"order_id": str(uuid4()), "account_id": alice_account.pk, "amount": 5, "currency": "EUR"}
        for _ in range(3)
    ]
    responses = [client.post("/api/v1/payments/", terms) for terms in wanted]

    assert [response.status_code for response in responses] == [201, 201, 429]
    assert 1 <= int(responses[2]["Retry-After"]) <= LONG_WINDOW
    assert [client.post("/api/v1/payments/", terms).status_code for terms in wanted] == [
        *(200, 200, 429)
    ]
    alice_account.refresh_from_db()
    assert alice_account.balance == OPENING - 10
    assert (Payment.objects.count(), Entry.objects.count()) == (2, 4)


@pytest.mark.django_db(transaction=True)
def test_a_pages_clicks_and_the_calls_of_the_api_share_one_rate(
    alice: User, alice_account: Account, place: Callable[..., Order], settings: Any
) -> None:
    settings.IDEMPOTENCY = settings.IDEMPOTENCY | {RATE: (1, LONG_WINDOW)}
    orders = [place(customer=alice) for _ in range(2)]
    api, browser = APIClient(), Client()
    api.force_authenticate(alice)
    browser.force_login(alice)
    key, body = {"Idempotency-Key": "k"}, {"account": alice_account.pk}
    assert api.post(f"/api/v1/orders/{orders[0].pk}/pay/", body, headers=key).status_code == 200

    form = {"key": str(uuid4()), "account": alice_account.pk}
    page = browser.post(f"/orders/{orders[1].pk}/pay/", form)

    assert page.status_code == 429
    assert 1 <= int(page["Retry-After"]) <= LONG_WINDOW
    alice_account.refresh_from_db()
    assert alice_account.balance == OPENING - orders[0].amount
    # What has a response is replayed, to the form as well.
    form["key"] = "k"
    assert browser.post(f"/orders/{orders[0].pk}/pay/", form)["Idempotent-Replayed"] == "true"


@pytest.mark.django_db(transaction=True)
def test_a_basket_that_may_not_be_placed_yet_keeps_its_key_and_its_lines(
    alice: User, product: Product, settings: Any
) -> None:
    browser = Client()
    browser.force_login(alice)
    browser.post("/basket/", {f"quantity-{product.sku}": "2"})
    basket = Basket.objects.get()
    seen, line = digest(basket), {f"quantity-{product.sku}": "2"}
    settings.IDEMPOTENCY = settings.IDEMPOTENCY | {RATE: (1, LONG_WINDOW)}
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO idempotency_ratecount VALUES (%s, now() + interval '1 hour', 1)",
            [f"execution:user:{alice.pk}"],
        )
    refused = browser.post(f"/basket/{basket.pk}/order/", {"seen": seen} | line)

    assert refused.status_code == 429
    assert (Order.objects.count(), Basket.objects.get()) == (0, basket)
    settings.IDEMPOTENCY = settings.IDEMPOTENCY | {RATE: (2, LONG_WINDOW)}
    placed = browser.post(f"/basket/{basket.pk}/order/", {"seen": seen} | line)
    assert placed.status_code == 303
    assert Order.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_basket_is_edited_so_often(alice: User, product: Product, settings: Any) -> None:
    settings.WRITE_RATE = (2, LONG_WINDOW)
    browser = Client()
    browser.force_login(alice)
    edits = [
        browser.post("/basket/", {f"quantity-{product.sku}": str(number)}) for number in (1, 2, 3)
    ]

    assert [response.status_code for response in edits] == [303, 303, 429]
    assert 1 <= int(edits[2]["Retry-After"]) <= LONG_WINDOW
    assert Basket.objects.get().lines == {product.sku: 2}
