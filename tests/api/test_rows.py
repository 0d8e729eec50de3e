"""What responses are made of by hand is what the serializers describe to OpenAPI."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from rest_framework.renderers import JSONRenderer
from rest_framework.test import APIClient

from orders import responses
from orders.models import Order
from orders.serializers import OrderResponse
from orders.services import advance, pay_order, payments_of
from payments.models import Account, Entry, Payment
from payments.serializers import EntryResponse, PaymentResponse
from payments.services import open_account


def described(order: Order) -> Any:
    """Return what the serializer makes of an order."""
    order.status_label = Order.Status(order.status).name.lower()  # type: ignore[attr-defined]
    order.payment = payments_of([order.pk]).get(order.pk)  # type: ignore[attr-defined]
    return OrderResponse(order).data


@pytest.mark.parametrize("status", Order.Status)
def test_an_order_of_each_status_is_as_the_serializer_describes_it(
    status: Order.Status,
    as_alice: APIClient,
    alice: User,
    alice_account: Account,
    place: Callable[..., Order],
) -> None:
    order = place(customer=alice)
    if status == Order.Status.PAYING:
        advance(order.pk, Order.start_paying, account_id=alice_account.pk)
    elif status != Order.Status.SUBMITTED:
        rich = status == Order.Status.PAID
        poor = open_account(owner=alice, currency="EUR", opening_balance=0)
        account = alice_account if rich else poor
        pay_order(customer=alice, order_id=order.pk, account_id=account.pk)

    found = Order.objects.get(pk=order.pk)
    expected = described(found)

    assert expected["status"] == status
    assert responses.body(found, found.payment) == expected  # type: ignore[attr-defined]
    assert list(responses.body(found, None)) == list(OrderResponse().fields)
    assert as_alice.get(f"/api/v1/orders/{order.pk}/").json() == expected
    assert as_alice.get("/api/v1/orders/").json()["results"] == [expected]


def test_what_a_statement_returns_is_shown_as_what_is_read(
    alice: User, alice_account: Account, place: Callable[..., Order]
) -> None:
    placed = place(customer=alice)
    assert responses.body(placed, None) == described(Order.objects.get(pk=placed.pk))

    paid = pay_order(customer=alice, order_id=placed.pk, account_id=alice_account.pk)
    assert responses.body(paid.order, paid.payment) == described(Order.objects.get(pk=placed.pk))
    assert paid.order == Order.objects.get(pk=placed.pk)
    assert {line.order_id for line in paid.order.loaded_lines} == {placed.pk}


def test_an_entry_is_as_the_serializer_describes_it(
    as_alice: APIClient, alice: User, alice_account: Account, place: Callable[..., Order]
) -> None:
    pay_order(customer=alice, order_id=place(customer=alice).pk, account_id=alice_account.pk)
    entry = Entry.objects.get(account=alice_account)

    (row,) = as_alice.get(f"/api/v1/accounts/{alice_account.pk}/entries/").json()["results"]

    assert row == json.loads(JSONRenderer().render(EntryResponse(entry).data))
    assert list(row) == list(EntryResponse().fields)


@pytest.mark.parametrize("balance", [0, 500])
def test_a_payment_is_as_the_serializer_describes_it(
    balance: int, as_alice: APIClient, alice: User, place: Callable[..., Order]
) -> None:
    account = open_account(owner=alice, currency="EUR", opening_balance=balance)
    order = place(customer=alice)
    pay_order(customer=alice, order_id=order.pk, account_id=account.pk)

    shown = as_alice.get(f"/api/v1/payments/{order.pk}/").json()

    payment = Payment.objects.get(order_id=order.pk)
    assert shown == json.loads(JSONRenderer().render(PaymentResponse(payment).data))
    assert list(shown) == list(PaymentResponse().fields)
