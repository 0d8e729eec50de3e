"""Filling a basket and making an order of it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connection
from uuid_utils.compat import uuid7

from orders.models import Order, Product
from orders.serializers import MAX_LINES, PlaceOrderRequest
from orders.services import place_order
from shop.models import Basket

# A quantity is set, not added: the same form sent twice says the same. 0 takes the line out.
FILL = """
INSERT INTO shop_basket (id, customer_id, lines)
VALUES (%(id)s, %(customer)s, jsonb_strip_nulls(%(lines)s::jsonb))
ON CONFLICT (customer_id) WHERE order_id IS NULL
DO UPDATE SET lines = jsonb_strip_nulls(shop_basket.lines || %(lines)s::jsonb)
"""


class BasketFull(Exception):
    """It would hold more products than an order can have lines. Nothing has changed."""


class BasketChanged(Exception):
    """The basket isn't what the customer saw, or it is an order by now. Nothing has happened."""


@dataclass(frozen=True)
class Offer:
    """A product, and how many of it are in a basket."""

    product: Product
    quantity: int

    @property
    def amount(self) -> int:
        return self.quantity * self.product.price


@dataclass(frozen=True)
class Contents:
    """What is in a basket, at today's prices; `gone` are skus that nobody sells any more."""

    offers: list[Offer]
    gone: list[str]

    @property
    def sums(self) -> dict[str, int]:
        """The amounts to pay, by currency; an order has one."""
        sums: dict[str, int] = {}
        for offer in self.offers:
            currency = offer.product.currency
            sums[currency] = sums.get(currency, 0) + offer.amount
        return sums

    @property
    def is_orderable(self) -> bool:
        return len(self.sums) == 1 and not self.gone and len(self.offers) <= MAX_LINES


def on_offer(basket: Basket | None) -> list[Offer]:
    """Return the catalogue, as far as a page shows it, with the quantities in a basket."""
    lines = basket.lines if basket else {}
    products = Product.objects.order_by("price", "sku")[:MAX_LINES]
    return [Offer(product, lines.get(product.sku, 0)) for product in products]


def contents(basket: Basket) -> Contents:
    """Return what is in a basket."""
    products = Product.objects.in_bulk(basket.lines, field_name="sku")
    skus = sorted(basket.lines)
    return Contents(
        [Offer(products[sku], basket.lines[sku]) for sku in skus if sku in products],
        [sku for sku in skus if sku not in products],
    )


def fill(*, customer: Any, quantities: Mapping[str, int]) -> None:
    """Set the quantities of some products in the customer's basket; a repeat changes nothing.

    What nobody sells isn't put in.

    :raises BasketFull: there would be too many products in it
    """
    sold = set(Product.objects.filter(sku__in=quantities).values_list("sku", flat=True))
    lines = {sku: (sku in sold and quantity) or None for sku, quantity in quantities.items()}
    found = open_basket(customer=customer)
    after = (found.lines if found else {}) | lines
    if sum(quantity is not None for quantity in after.values()) > MAX_LINES:
        raise BasketFull
    values = {"id": uuid7(), "customer": customer.pk, "lines": json.dumps(lines)}
    with connection.cursor() as cursor:
        cursor.execute(FILL, values)


def open_basket(*, customer: Any) -> Basket | None:
    """Return the basket that the customer is filling, if there is one."""
    return Basket.objects.filter(customer=customer, order=None).first()


def find(*, customer: Any, basket_id: UUID) -> Basket | None:
    """Return a customer's basket, an order by now or not."""
    return Basket.objects.filter(pk=basket_id, customer=customer).first()


def make_order(basket: Basket) -> Order:
    """Make an order of a basket as it was read; call it under the basket's id as the key.

    A repeated call places nothing.

    :raises BasketChanged: another tab was faster, with other lines or with the order
    """
    request = PlaceOrderRequest(data=asked(basket))
    order = place_order(customer=basket.customer, lines=request.wanted())
    # Won or lost here: the basket becomes one order, of the lines that were seen.
    mine = Basket.objects.filter(pk=basket.pk, order=None, lines=basket.lines)
    if mine.update(order=order) != 1:
        raise BasketChanged
    return order


def became(basket: Basket, order_id: UUID) -> None:
    """Note the order that the basket's key names, if an API request with it was the first."""
    Basket.objects.filter(pk=basket.pk, order=None).update(order=order_id)


def order_of(basket: Basket) -> UUID | None:
    """Return the order that a basket has become by now."""
    return Basket.objects.filter(pk=basket.pk).values_list("order", flat=True).first()


def renew_key(basket: Basket) -> None:
    """Give an open basket another id, because its key was used for something else."""
    Basket.objects.filter(pk=basket.pk, order=None).update(id=uuid7())


def was_edited(basket: Basket, quantities: Mapping[str, int] | None, *, seen: str | None) -> bool:
    """Say whether a customer typed other quantities than the basket has, into a page that is new.

    (An old page shows what the basket was then: that is for `make_order` to find out.)
    """
    if basket.order_id is not None or seen != digest(basket):
        return False
    if quantities is None:
        return True
    return any(basket.lines.get(sku, 0) != quantity for sku, quantity in quantities.items())


def asked(basket: Basket) -> dict[str, Any]:
    """Return the body of the API's call that would place the same order."""
    return {"lines": [{"sku": sku, "quantity": basket.lines[sku]} for sku in sorted(basket.lines)]}


def digest(basket: Basket) -> str:
    """Return a digest of a basket's lines: what a page says that its customer has seen."""
    return hashlib.sha256(json.dumps(asked(basket)).encode()).hexdigest()[:16]
