"""Filling a basket, and placing it as an order."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connection
from uuid_utils.compat import uuid7

from idempotency.steps import step
from orders.models import Order, Product
from orders.serializers import MAX_LINES, PlaceOrderRequest
from orders.services import place_order
from shop.models import Basket

# A quantity is set, not added: a duplicate of a form changes nothing. 0 removes the line.
FILL = """
INSERT INTO shop_basket (id, customer_id, lines)
VALUES (%(id)s, %(customer)s, jsonb_strip_nulls(%(lines)s::jsonb))
ON CONFLICT (customer_id) WHERE order_id IS NULL
DO UPDATE SET lines = jsonb_strip_nulls(shop_basket.lines || %(lines)s::jsonb)
"""


class BasketFull(Exception):
    """The basket would hold more products than an order has lines. Nothing has changed."""


class BasketChanged(Exception):
    """The basket is not what the customer saw, or is an order already. Nothing has happened."""


@dataclass(frozen=True)
class Offer:
    """A product with its quantity in a basket."""

    product: Product
    quantity: int

    @property
    def amount(self) -> int:
        return self.quantity * self.product.price


@dataclass(frozen=True)
class Contents:
    """The contents of a basket at current prices; `unavailable` are skus no longer sold."""

    offers: list[Offer]
    unavailable: list[str]

    @property
    def sums(self) -> dict[str, int]:
        """The amounts to pay by currency; an order has only one."""
        sums: dict[str, int] = {}
        for offer in self.offers:
            currency = offer.product.currency
            sums[currency] = sums.get(currency, 0) + offer.amount
        return sums

    @property
    def is_orderable(self) -> bool:
        return len(self.sums) == 1 and not self.unavailable and len(self.offers) <= MAX_LINES


def catalogue_offers(basket: Basket | None) -> list[Offer]:
    """Return one page of the catalogue, with the quantities in a basket."""
    lines = basket.lines if basket else {}
    products = Product.objects.order_by("price", "sku")[:MAX_LINES]
    return [Offer(product, lines.get(product.sku, 0)) for product in products]


def contents_of(basket: Basket) -> Contents:
    """Return the contents of a basket."""
    products = Product.objects.in_bulk(basket.lines, field_name="sku")
    skus = sorted(basket.lines)
    return Contents(
        [Offer(products[sku], basket.lines[sku]) for sku in skus if sku in products],
        [sku for sku in skus if sku not in products],
    )


def fill(*, customer: Any, quantities: Mapping[str, int]) -> None:
    """Set the quantities of some products in the customer's basket; a duplicate changes nothing.

    Skus that are not sold are left out.

    :raises BasketFull: the basket would hold too many products
    """
    sold = set(Product.objects.filter(sku__in=quantities).values_list("sku", flat=True))
    lines = {sku: (sku in sold and quantity) or None for sku, quantity in quantities.items()}
    basket = open_basket(customer=customer)
    after = (basket.lines if basket else {}) | lines
    if sum(quantity is not None for quantity in after.values()) > MAX_LINES:
        raise BasketFull
    values = {"id": uuid7(), "customer": customer.pk, "lines": json.dumps(lines)}
    with connection.cursor() as cursor:
        cursor.execute(FILL, values)


def open_basket(*, customer: Any) -> Basket | None:
    """Return the customer's open basket, or None."""
    return Basket.objects.filter(customer=customer, order=None).first()


def find(*, customer: Any, basket_id: UUID) -> Basket | None:
    """Return a customer's basket, open or ordered, or None."""
    return Basket.objects.filter(pk=basket_id, customer=customer).first()


def make_order(basket: Basket) -> Order:
    """Place a basket, as it was read, as an order; call this under the basket's id as the key.

    A repeated call places nothing.

    :raises BasketChanged: another tab was faster, with other lines or with the order
    """
    lines = PlaceOrderRequest.wanted(request_body(basket))
    order = place_order(customer=basket.customer, lines=lines)
    # Won or lost here: the basket becomes one order, of the lines that the customer saw.
    unchanged = Basket.objects.filter(pk=basket.pk, order=None, lines=basket.lines)
    with step("basket-ordered") as linked:
        linked.rows = unchanged.update(order=order)
    if linked.rows != 1:
        raise BasketChanged
    return order


def link_order(basket: Basket, order_id: UUID) -> None:
    """Link an open basket to the order that an API request has placed under its key."""
    Basket.objects.filter(pk=basket.pk, order=None).update(order=order_id)


def order_of(basket: Basket) -> UUID | None:
    """Return the id of the order that a basket has become, or None."""
    return Basket.objects.filter(pk=basket.pk).values_list("order", flat=True).first()


def renew_key(basket: Basket) -> None:
    """Give an open basket another id, because its key was used for another request."""
    Basket.objects.filter(pk=basket.pk, order=None).update(id=uuid7())


def is_edited(basket: Basket, quantities: Mapping[str, int] | None, *, seen: str | None) -> bool:
    """Return True if a customer typed other quantities than the basket has, into a current page.

    An outdated page is for `make_order` to refuse.
    """
    if basket.order_id is not None or seen != digest(basket):
        return False
    if quantities is None:
        return True
    return any(basket.lines.get(sku, 0) != quantity for sku, quantity in quantities.items())


def request_body(basket: Basket) -> dict[str, Any]:
    """Return the body of the API request that would place the same order."""
    return {"lines": [{"sku": sku, "quantity": basket.lines[sku]} for sku in sorted(basket.lines)]}


def digest(basket: Basket) -> str:
    """Return a digest of a basket's lines: a form carries that of the lines its page shows."""
    return hashlib.sha256(json.dumps(request_body(basket)).encode()).hexdigest()[:16]
