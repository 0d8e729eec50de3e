"""The verdict on an order names its lookalikes: same customer, money and time, and no others."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User

from orders import verdict
from orders.models import Order, Product
from orders.requests import RequestsOf
from orders.services import Line, place_order
from orders.verdict import verdict_on


def test_an_order_of_the_same_customer_and_money_is_a_lookalike_and_no_other(
    alice: User, bob: User, order: Order, place: Callable[..., Order]
) -> None:
    Product.objects.create(sku="MAPLE", name="Maple syrup", price=order.amount, currency="CAD")
    place(customer=bob)
    place(customer=alice, quantity=3)
    place_order(customer=alice, lines=[Line("MAPLE", 1)])
    lookalike = place(customer=alice)

    assert verdict_on(order).others == [lookalike]


def test_an_order_of_another_hour_is_no_lookalike(
    alice: User, order: Order, place: Callable[..., Order], monkeypatch: pytest.MonkeyPatch
) -> None:
    place(customer=alice)
    assert verdict_on(order).others
    monkeypatch.setattr(verdict, "NEARBY", timedelta(0))
    assert not verdict_on(order).others


def test_what_staff_did_to_another_order_is_not_among_its_requests(
    admin_client: Any, alice: User, order: Order, place: Callable[..., Order]
) -> None:
    for each in (order, place(customer=alice)):
        admin_client.post(f"/admin/orders/order/{each.pk}/pay/")

    assert [log.object_id for log in RequestsOf(order).staff_log] == [str(order.pk)]
