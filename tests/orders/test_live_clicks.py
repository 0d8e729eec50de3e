"""Twenty simultaneous clicks over HTTP on a live server of several processes."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User

from idempotency.models import Record
from operations.audit import check_invariants as audit
from orders.models import Order, Product
from payments.models import Account, Payment
from tests.conftest import OPENING
from tests.support.api_tokens import api_token_of
from tests.support.live import Caller, LiveServer, until
from tests.support.together import naive_shop, together

pytestmark = pytest.mark.django_db(transaction=True)

MANY = 20


@pytest.fixture
def caller(server: LiveServer) -> Callable[[User], Caller]:
    def caller(user: User) -> Caller:
        return Caller(server.url, api_token_of(user))

    return caller


@pytest.fixture(autouse=True)
def _invariants_hold_afterwards() -> Iterator[None]:
    yield
    assert [found for found in audit() if found.breaches] == []


def until_final(call: Callable[[], Any]) -> Any:
    """Repeat while the first request is in flight, as a good client does."""
    for _ in range(60):
        response = call()
        if response.status != 409 or "idempotency-key-in-use" not in response.json()["type"]:
            return response
        time.sleep(int(response.headers["Retry-After"]))
    raise AssertionError("the first request never ended")


def balance(account: Account) -> int | None:
    return Account.objects.get(pk=account.pk).balance


def test_clicks_with_one_key_get_one_response_and_one_charge(
    caller: Callable[[User], Caller],
    alice: User,
    alice_account: Account,
    place: Callable[..., Order],
) -> None:
    order, click = place(customer=alice), caller(alice)
    path, body, key = f"/api/v1/orders/{order.pk}/pay/", {"account": alice_account.pk}, uuid4().hex

    responses = together(MANY, lambda _: until_final(lambda: click.post(path, body, key=key)))

    assert Counter(response.status for response in responses) == {200: MANY}
    assert len({response.data for response in responses}) == 1
    replayed = Counter(response.headers.get("Idempotent-Replayed") for response in responses)
    assert replayed == {None: 1, "true": MANY - 1}
    assert Record.objects.count() == 1
    assert balance(alice_account) == OPENING - order.amount


def test_clicks_with_different_keys_get_one_success_and_one_charge(
    caller: Callable[[User], Caller],
    alice: User,
    alice_account: Account,
    place: Callable[..., Order],
) -> None:
    order, click = place(customer=alice), caller(alice)
    path, body = f"/api/v1/orders/{order.pk}/pay/", {"account": alice_account.pk}

    def pay(number: int) -> Any:
        return until_final(lambda: click.post(path, body, key=f"tab-{number}"))

    responses = together(MANY, pay)

    assert Counter(response.status for response in responses) == {200: 1, 409: MANY - 1}
    refused = [response.json() for response in responses if response.status == 409]
    assert {problem["type"] for problem in refused} == {"/problems/order-already-paid"}
    assert {problem["order"]["payment"]["id"] for problem in refused} == {
        str(Payment.objects.get().pk)
    }
    assert balance(alice_account) == OPENING - order.amount


def test_clicks_to_place_with_one_key_place_one_order(
    caller: Callable[[User], Caller], alice: User, product: Product
) -> None:
    click, key = caller(alice), uuid4().hex
    body = {"lines": [{"sku": product.sku, "quantity": 3}]}

    responses = together(
        MANY, lambda _: until_final(lambda: click.post("/api/v1/orders/", body, key=key))
    )

    assert Counter(response.status for response in responses) == {201: MANY}
    assert len({(response.data, response.headers["Location"]) for response in responses}) == 1
    assert Order.objects.count() == 1


def test_clicks_to_place_with_different_keys_place_as_many_orders(
    caller: Callable[[User], Caller], alice: User, product: Product
) -> None:
    click = caller(alice)
    body = {"lines": [{"sku": product.sku, "quantity": 3}]}

    responses = together(MANY, lambda n: click.post("/api/v1/orders/", body, key=f"wish-{n}"))

    assert Counter(response.status for response in responses) == {201: MANY}
    assert Order.objects.count() == MANY


def test_naive_clicks_to_place_place_as_many_orders_as_there_are_clicks() -> None:
    looked = threading.Barrier(MANY, timeout=60)
    with naive_shop(0) as shop:
        together(MANY, lambda _: shop.place_once(7, looked.wait))
        assert shop.count(7) == MANY


def test_a_retry_waits_for_the_first_and_replays_it(
    server: LiveServer,
    caller: Callable[[User], Caller],
    alice: User,
    alice_account: Account,
    place: Callable[..., Order],
) -> None:
    order, click = place(customer=alice), caller(alice)
    path, body, key = f"/api/v1/orders/{order.pk}/pay/", {"account": alice_account.pk}, uuid4().hex
    server.arm("payment-decided", "hold")

    def act(number: int) -> Any:
        if number == 0:
            return click.post(path, body, key=key)
        until(lambda: server.hits("payment-decided"), what="the first is held")
        if number == 1:
            return click.post(path, body, key=key, Prefer="wait=30")
        until(waiting_on_a_lock, what="the retry waits")
        server.release("payment-decided")
        return None

    first, retry, _ = together(3, act)

    assert (first.status, retry.status) == (200, 200)
    assert first.data == retry.data
    assert retry.headers["Idempotent-Replayed"] == "true"
    assert balance(alice_account) == OPENING - order.amount


def test_a_retry_that_prefers_not_to_wait_is_refused_at_once(
    server: LiveServer,
    caller: Callable[[User], Caller],
    alice: User,
    alice_account: Account,
    place: Callable[..., Order],
) -> None:
    order, click = place(customer=alice), caller(alice)
    path, body, key = f"/api/v1/orders/{order.pk}/pay/", {"account": alice_account.pk}, uuid4().hex
    server.arm("payment-decided", "hold")

    def act(number: int) -> Any:
        if number == 0:
            return click.post(path, body, key=key)
        until(lambda: server.hits("payment-decided"), what="the first is held")
        response = click.post(path, body, key=key, Prefer="wait=0")
        other_key = click.post(path, body, key=uuid4().hex, Prefer="wait=0")
        server.release("payment-decided")
        return response, other_key

    first, (same, other) = together(2, act)

    assert first.status == 200
    for refused in (same, other):
        assert refused.status == 409
        assert refused.json()["type"] == "/problems/idempotency-key-in-use"
        assert refused.json()["same_key"] is refused.json()["retryable"] is True
        assert int(refused.headers["Retry-After"]) >= 1
    assert balance(alice_account) == OPENING - order.amount


def test_a_retry_of_a_held_order_runs_nothing(
    server: LiveServer, caller: Callable[[User], Caller], alice: User, product: Product
) -> None:
    click, key = caller(alice), uuid4().hex
    body = {"lines": [{"sku": product.sku, "quantity": 1}]}
    server.arm("order-placed", "hold", times=2)

    def act(number: int) -> Any:
        if number == 0:
            return click.post("/api/v1/orders/", body, key=key)
        until(lambda: server.hits("order-placed"), what="the first is held")
        retry = click.post("/api/v1/orders/", body, key=key, Prefer="wait=0")
        hits = server.hits("order-placed")
        server.release("order-placed")
        return retry, hits

    first, (retry, hits) = together(2, act)

    assert (first.status, retry.status) == (201, 409)
    assert hits == 1, "the retry did not reach the place where the first is held"
    assert Order.objects.count() == 1


def test_a_key_in_flight_runs_nothing_for_another_order(
    server: LiveServer,
    caller: Callable[[User], Caller],
    alice: User,
    alice_account: Account,
    place: Callable[..., Order],
) -> None:
    held, other, click, key = place(customer=alice), place(customer=alice), caller(alice), "k"
    body = {"account": alice_account.pk}
    server.arm("payment-decided", "hold")
    server.arm("key-claimed", "hold", times=2)
    server.release("key-claimed")

    def act(number: int) -> Any:
        if number == 0:
            return click.post(f"/api/v1/orders/{held.pk}/pay/", body, key=key)
        until(lambda: server.hits("payment-decided"), what="the first is held")
        refused = click.post(f"/api/v1/orders/{other.pk}/pay/", body, key=key, Prefer="wait=0")
        claimed = server.hits("key-claimed")
        server.release("payment-decided")
        return refused, claimed

    first, (refused, claimed) = together(2, act)

    assert (first.status, refused.status) == (200, 409)
    assert claimed == 1, "the second did not get as far as running anything"
    assert balance(alice_account) == OPENING - held.amount


def test_forty_duplicates_of_a_held_payment_leave_room_for_other_customers(
    server: LiveServer,
    caller: Callable[[User], Caller],
    alice: User,
    alice_account: Account,
    bob: User,
    bob_account: Account,
    place: Callable[..., Order],
) -> None:
    order, click, other = place(customer=alice), caller(alice), caller(bob)
    path, body, key = f"/api/v1/orders/{order.pk}/pay/", {"account": alice_account.pk}, uuid4().hex
    bobs = [place(customer=bob) for _ in range(5)]
    server.arm("payment-decided", "hold")

    def act(number: int) -> Any:
        if number < 40:
            keys = {"key": key if number % 2 else f"tab-{number}"}  # one tab, and many tabs
            return until_final(lambda: click.post(path, body, **keys))
        until(lambda: server.hits("payment-decided"), what="the first is held")
        until(waiting_on_a_lock, what="repeats wait")
        paid = [
            other.post(
                f"/api/v1/orders/{mine.pk}/pay/", {"account": bob_account.pk}, key=uuid4().hex
            )
            for mine in bobs
        ]
        still_held = not Payment.objects.filter(order_id=order.pk).exists()
        server.release("payment-decided")
        return paid, still_held

    *responses, (paid, still_held) = together(41, act)

    assert still_held, "bob's payments had their responses while alice's was held open"
    assert [response.status for response in paid] == [200] * 5
    assert Counter(response.status for response in responses)[200] >= 1
    assert {response.status for response in responses} <= {200, 409}
    assert balance(alice_account) == OPENING - order.amount
    assert balance(bob_account) == OPENING - sum(mine.amount for mine in bobs)


def waiting_on_a_lock() -> bool:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        return bool(cursor.fetchone()[0])
