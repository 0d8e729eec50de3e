"""Placing and paying orders: the only writers of orders."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import prefetch_related_objects

from idempotency import waiting
from idempotency.failpoints import failpoint
from orders import clock, outbox
from orders.errors import MixedCurrencies, OrderNotFound, ProductNotFound
from orders.models import Order, OrderLine, Product
from payments import client

SHORT_WAIT_SECONDS = 2.0

Transition = Callable[[Order], None]


@dataclass(frozen=True)
class Line:
    """What a customer asks for; the price is the server's."""

    sku: str
    quantity: int


@dataclass(frozen=True)
class Attempt:
    """What became of an attempt to pay: the order as it stands, with its lines loaded.

    :param payment: the order's, if it has one that is known here
    :param first: whether this call was the one that decided
    """

    order: Order
    payment: client.Payment | None
    first: bool


@transaction.atomic
def place_order(*, customer: Any, lines: Sequence[Line]) -> Order:
    """Place an order, priced by the server, and return it with its lines loaded.

    A repeated call places another order.

    (What makes a repeated *request* harmless is the idempotency key around this call.)

    :raises ProductNotFound: a sku is unknown
    :raises MixedCurrencies: the products are priced in different currencies
    """
    skus = [line.sku for line in lines]
    products = Product.objects.annotate(**clock.READ_AT).in_bulk(skus, field_name="sku")
    order_lines = [_priced(line, products) for line in lines]
    currencies = {products[line.sku].currency for line in lines}
    if len(currencies) != 1:
        raise MixedCurrencies
    amount = sum(line.amount for line in order_lines)
    now = clock.read_at(next(iter(products.values())))
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
    prefetch_related_objects([order], "lines")
    failpoint("order-placed")
    return order


def pay_order(
    *, customer: Any, order_id: UUID, account_id: int, request_id: str = "", key_digest: str = ""
) -> Attempt:
    """Pay an order from an account of the customer's: 0→1, charge, 1→2 or 3, one transaction.

    The first call decides. A repeated one changes nothing and returns the order as it stands:
    still paying, paid or failed.

    :param request_id: of the customer's request, and the digest of its key: for the logs of both
        systems
    :raises OrderNotFound: there is no such order of this customer's
    :raises client.AccountNotFound: there is no such account of this customer's
    :raises client.CurrencyMismatch: the account is kept in another currency
    :raises client.PaymentMismatch: the order id was paid past this service with other terms
    """
    if not client.is_remote():
        client.check_account(owner=customer, account_id=account_id)
    order = find_order(customer=customer, order_id=order_id)
    with transaction.atomic():
        if not advance(order, Order.start_paying, account_id=account_id):
            _hold_if_paying(order)
            return _as_it_stands(customer=customer, order_id=order_id)
        failpoint("order-claimed")
        if client.is_remote():
            outbox.write(
                order,
                customer=customer.get_username(),
                request_id=request_id,
                key_digest=key_digest,
            )
            failpoint("payment-requested")
            return _first(order, None)
        payment = client.pay(
            order_id=order.pk, account_id=account_id, amount=order.amount, currency=order.currency
        )
        advance(order, Order.complete if payment.succeeded else Order.fail)
        failpoint("order-settled")
    return _first(order, payment)


@transaction.atomic(savepoint=False)
def settle_order(*, order_id: UUID, payment: client.Payment) -> Attempt | None:
    """Settle a paying order as its payment was decided elsewhere: 1→2 or 1→3.

    A repeated call, or a late duplicate of the result, changes nothing and returns None.
    """
    order = Order.objects.annotate(**clock.READ_AT).get(pk=order_id)
    if not advance(order, Order.complete if payment.succeeded else Order.fail):
        return None
    outbox.close(order, payment)
    failpoint("order-settled")
    return _first(order, payment)


def is_settled_within(order_id: UUID, *, seconds: int | None) -> bool:
    """Wait for a paying order to be settled; return True if it is.

    :param seconds: how long; None: for a short while, and only while the payment system responds
    """

    def settled() -> bool | None:
        if outbox.is_settled(order_id):
            return True
        return None if seconds is None and outbox.is_silent() else False

    return waiting.poll(settled, seconds=SHORT_WAIT_SECONDS if seconds is None else seconds)


def held_up_among(order_ids: Collection[UUID]) -> set[UUID]:
    """Return those of the orders that wait for staff, because their payment was refused."""
    return outbox.dead_lettered_among(order_ids)


def payments_of(order_ids: Collection[UUID]) -> dict[UUID, client.Payment]:
    """Return the payments of those of the orders that have one that is known here, in one query."""
    return outbox.payments_of(order_ids) if client.is_remote() else client.find(order_ids)


def find_order(*, customer: Any, order_id: UUID) -> Order:
    """Return a customer's order.

    :raises OrderNotFound: there is no such order, or it is another customer's
    """
    try:
        return Order.objects.annotate(**clock.READ_AT).get(pk=order_id, customer=customer)
    except Order.DoesNotExist as error:
        raise OrderNotFound from error


def advance(order: Order, transition: Transition, **changes: object) -> bool:
    """Take a transition by compare-and-set; True for the one caller whose UPDATE matched.

    Source and target come from the transition's declaration. A repeated call matches no row,
    changes nothing and returns False.
    """
    source, target = declared_by(transition)
    changes |= {"status": target, "updated_at": clock.read_at(order)}
    # Won or lost here: after the winner's commit, the loser's UPDATE matches no row.
    if Order.objects.filter(pk=order.pk, status=source).update(**changes) != 1:
        return False
    for name, value in changes.items():
        setattr(order, name, value)
    return True


def declared_by(transition: Transition) -> tuple[int, int]:
    """Return the source and target that a transition method declares."""
    (declared,) = transition._django_fsm.transitions.values()  # type: ignore[attr-defined]
    return declared.source, declared.target


def _first(order: Order, payment: client.Payment | None) -> Attempt:
    prefetch_related_objects([order], "lines")
    return Attempt(order, payment, first=True)


def _as_it_stands(*, customer: Any, order_id: UUID) -> Attempt:
    order = find_order(customer=customer, order_id=order_id)
    prefetch_related_objects([order], "lines")
    return Attempt(order, payments_of([order_id]).get(order_id), first=False)


def _hold_if_paying(order: Order) -> None:
    """Keep a paying order from being settled until this transaction has ended.

    A 202 that is stored meanwhile is then among those that the settling transaction replaces.
    """
    Order.objects.filter(pk=order.pk, status=Order.Status.PAYING).update(status=Order.Status.PAYING)


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
