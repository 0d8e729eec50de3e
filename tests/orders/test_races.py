"""Races on the services, without any idempotency key: the database alone decides."""

import threading
from collections import Counter
from collections.abc import Callable
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User

from operations.audit import check_invariants as audit
from orders.models import Order
from orders.services import pay_order
from payments.models import Account, Entry, Payment
from payments.services import open_account, pay
from tests.conftest import OPENING
from tests.support.together import naive_shop, together

pytestmark = pytest.mark.django_db(transaction=True)

MANY = 20


def balance(account: Account) -> int | None:
    return Account.objects.get(pk=account.pk).balance


def test_twenty_calls_at_once_pay_an_order_once(
    alice: User, alice_account: Account, place: Callable[..., Order]
) -> None:
    order = place(customer=alice)

    attempts = together(
        MANY,
        lambda _: pay_order(customer=alice, order_id=order.pk, account_id=alice_account.pk),
    )

    assert Counter(attempt.first for attempt in attempts) == {True: 1, False: MANY - 1}
    assert {attempt.order.status for attempt in attempts} == {Order.Status.PAID}
    assert Payment.objects.count() == 1
    assert balance(alice_account) == OPENING - order.amount


def test_twenty_naive_calls_at_once_charge_twenty_times() -> None:
    looked = threading.Barrier(MANY, timeout=60)
    with naive_shop(OPENING) as shop:
        shop.place(1)
        together(MANY, lambda _: shop.pay(1, 500, looked.wait))
        assert shop.balance == OPENING - 500 * MANY


def test_twenty_calls_at_once_to_the_payment_system_make_one_payment(
    alice_account: Account,
) -> None:
    order_id = uuid4()
    terms = {"account_id": alice_account.pk, "amount": 700, "currency": "EUR"}
    earlier = pay(order_id=uuid4(), **terms)  # type: ignore[arg-type]

    results = together(MANY, lambda _: pay(order_id=order_id, **terms))  # type: ignore[arg-type]

    assert Counter(paid.first for paid in results) == {True: 1, False: MANY - 1}
    assert len({paid.payment.pk for paid in results}) == 1
    assert earlier.payment not in [paid.payment for paid in results]
    assert Entry.objects.count() == 4
    assert balance(alice_account) == OPENING - 2 * 700


def test_two_orders_race_for_money_that_is_enough_for_one(
    alice: User, place: Callable[..., Order]
) -> None:
    for _ in range(10):
        account = open_account(owner=alice, currency="EUR", opening_balance=500)
        orders: list[UUID] = [place(customer=alice).pk for _ in range(2)]

        together(
            2,
            lambda n, ids=orders, pk=account.pk: pay_order(  # type: ignore[misc]
                customer=alice, order_id=ids[n], account_id=pk
            ),
        )

        statuses = sorted(Order.objects.filter(pk__in=orders).values_list("status", flat=True))
        assert statuses == [Order.Status.PAID, Order.Status.FAILED]
        assert balance(account) == 0
    assert not any(found.breaches for found in audit())


def test_two_naive_orders_spend_the_same_money_twice() -> None:
    looked = threading.Barrier(2, timeout=60)
    with naive_shop(500) as shop:
        shop.place(0)
        shop.place(1)
        together(2, lambda n: shop.pay(n, 500, looked.wait))
        assert shop.balance == -500
