"""Placing and paying orders: the only writers of orders."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from idempotency import faults
from orders.errors import MixedCurrencies, OrderNotFound, ProductNotFound
from orders.models import Order, OrderLine, Product
from payments import client

Edge = Callable[[Order], None]


@dataclass(frozen=True)
class Line:
    """What a customer asks for; the price is the server's."""

    sku: str
    quantity: int


@dataclass(frozen=True)
class Attempt:
    """What became of an attempt to pay: the order as it stands, and whether it was the first."""

    order: Order
    first: bool


@transaction.atomic
def place_order(*, customer: Any, lines: Sequence[Line]) -> Order:
    """Place an order, priced by the server. A repeated call places another order.

    (What makes a repeated *request* harmless is the idempotency key around this call.)

    :raises ProductNotFound: a sku is unknown
    :raises MixedCurrencies: the products are priced in different currencies
    """
    products = Product.objects.in_bulk([line.sku for line in lines], field_name="sku")
    order_lines = [_priced(line, products) for line in lines]
    currencies = {products[line.sku].currency for line in lines}
    if len(currencies) != 1:
        raise MixedCurrencies
    amount = sum(line.amount for line in order_lines)
    now = timezone.now()
    order = Order.objects.create(
        customer=customer,
        amount=amount,
        currency=currencies.pop(),
        created_at=now,
        updated_at=now,
    )
    for line in order_lines:
        line.order = order
    OrderLine.objects.bulk_create(order_lines)
    faults.point("order-placed")
    return order


def pay_order(*, customer: Any, order_id: UUID, account_id: int) -> Attempt:
    """Pay an order from an account of the customer's: 0→1, charge, 1→2 or 3, one transaction.

    The first call decides. A repeated one changes nothing and returns the order as it stands:
    still paying, paid or failed.

    :raises OrderNotFound: there is no such order of this customer's
    :raises client.AccountNotFound: there is no such account of this customer's
    :raises client.CurrencyMismatch: the account is kept in another currency
    :raises client.PaymentMismatch: the order id was paid past this service with other terms
    """
    client.check_account(owner=customer, account_id=account_id)
    order = find_order(customer=customer, order_id=order_id)
    with transaction.atomic():
        if not advance(order, Order.start_paying, account_id=account_id):
            return Attempt(find_order(customer=customer, order_id=order_id), first=False)
        faults.point("order-claimed")
        payment = client.pay(
            order_id=order.pk, account_id=account_id, amount=order.amount, currency=order.currency
        )
        advance(order, Order.complete if payment.succeeded else Order.fail)
        faults.point("order-settled")
    return Attempt(order, first=True)


def find_order(*, customer: Any, order_id: UUID) -> Order:
    """Return a customer's order.

    :raises OrderNotFound: there is no such order, or it is another customer's
    """
    try:
        return Order.objects.get(pk=order_id, customer=customer)
    except Order.DoesNotExist as error:
        raise OrderNotFound from error


def advance(order: Order, edge: Edge, **changes: object) -> bool:
    """Take an edge by compare-and-set; True for the one caller whose UPDATE matched.

    Source and target come from the edge's declaration. A repeated call matches no row, changes
    nothing and returns False.
    """
    source, target = edge_of(edge)
    changes |= {"status": target, "updated_at": timezone.now()}
    # Won or lost here: the loser waits for the winner's commit, then matches no row.
    if Order.objects.filter(pk=order.pk, status=source).update(**changes) != 1:
        return False
    for name, value in changes.items():
        setattr(order, name, value)
    return True


def edge_of(edge: Edge) -> tuple[int, int]:
    """Return the source and target that a transition method declares."""
    (declared,) = edge._django_fsm.transitions.values()  # type: ignore[attr-defined]
    return declared.source, declared.target


def _priced(line: Line, products: dict[str, Product]) -> OrderLine:
    product = products.get(line.sku)
    if product is None:
        raise ProductNotFound(line.sku)
    return OrderLine(
        product=product,
        sku=product.sku,
        name=product.name,
        quantity=line.quantity,
        unit_price=product.price,
    )
