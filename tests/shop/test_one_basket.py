"""What happens to a basket happens to that one: another customer's, with the same lines, stays."""

import pytest
from django.contrib.auth.models import User

from orders.models import Order, Product
from shop import baskets
from shop.models import Basket


@pytest.fixture
def own(alice: User, bob: User, product: Product) -> Basket:
    """Return alice's open basket; bob has one of the same lines."""
    for customer in (bob, alice):
        baskets.fill(customer=customer, quantities={product.sku: 2})
    return Basket.objects.get(customer=alice)


@pytest.fixture
def others(own: Basket, bob: User) -> Basket:
    return Basket.objects.get(customer=bob)


def test_an_order_is_made_of_one_basket(own: Basket, others: Basket) -> None:
    order = baskets.make_order(own)

    assert baskets.order_of(own) == order.pk
    assert baskets.order_of(others) is None


def test_an_order_is_linked_to_one_basket(own: Basket, others: Basket, order: Order) -> None:
    baskets.link_order(own, order.pk)

    assert baskets.order_of(own) == order.pk
    assert baskets.order_of(others) is None


def test_a_basket_that_is_an_order_stays_that_order(own: Basket, order: Order) -> None:
    made = baskets.make_order(own)

    baskets.link_order(own, order.pk)

    assert baskets.order_of(own) == made.pk


def test_one_basket_gets_another_key(own: Basket, others: Basket) -> None:
    baskets.renew_key(own)

    assert not Basket.objects.filter(pk=own.pk).exists()
    assert Basket.objects.filter(pk=others.pk).exists()
