"""Placing and paying orders: the only writers of orders."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from uuid_utils.compat import uuid7

from idempotency import waiting
from idempotency.failpoints import failpoint
from idempotency.steps import step
from orders import outbox
from orders.errors import MixedCurrencies, OrderNotFound, ProductNotFound
from orders.models import Order, OrderLine, Product
from payments import client

SHORT_WAIT_SECONDS = 2.0

Transition = Callable[[Order], None]

_COLUMNS = [field.attname for field in Order._meta.concrete_fields]

# The price is the server's. No order where a product is unknown or the currencies differ.
PLACE = f"""
WITH wanted AS (
    SELECT number, quantity, product.*
      FROM unnest(%(skus)s::text[], %(quantities)s::int[]) WITH ORDINALITY
           AS line (sku, quantity, number)
      LEFT JOIN orders_product product USING (sku)),
placed AS (
    INSERT INTO orders_order (id, customer_id, status, amount, currency, created_at, updated_at)
    SELECT %(id)s, %(customer)s, %(status)s, sum(quantity * price), min(currency),
           statement_timestamp(), statement_timestamp()
      FROM wanted HAVING count(*) = count(id) AND count(DISTINCT currency) = 1
    RETURNING *),
line AS (
    INSERT INTO orders_orderline (order_id, product_id, sku, name, quantity, unit_price)
    SELECT placed.id, wanted.id, wanted.sku, wanted.name, quantity, price
      FROM placed, wanted ORDER BY number
    RETURNING *)
SELECT {", ".join(_COLUMNS)}, (SELECT json_agg(line ORDER BY id) FROM line) FROM placed
"""  # noqa: S608 - the names of columns

_LINES = """(SELECT json_agg(line ORDER BY id) FROM orders_orderline line
                WHERE order_id = orders_order.id)"""

# Won or lost here: the loser waits for the winner's commit, and then this matches no row.
ADVANCE = f"""
UPDATE orders_order
   SET status = %(target)s, updated_at = statement_timestamp(),
       account_id = coalesce(account_id, %(account_id)s)
 WHERE id = %(order_id)s AND status = %(source)s
   AND customer_id = coalesce(%(customer)s, customer_id)
RETURNING {", ".join(_COLUMNS)}, {_LINES}
"""  # noqa: S608 - the names of columns

# The same of an order that is loaded, and of any number of orders. Three statements, because
# PostgreSQL plans one that fits all of these anew each time.
SETTLE = """
UPDATE orders_order SET status = %(target)s, updated_at = statement_timestamp()
 WHERE id = %(order_id)s AND status = %(source)s
RETURNING status, updated_at
"""
SETTLE_ALL = f"""
UPDATE orders_order SET status = %(target)s, updated_at = statement_timestamp()
 WHERE id = ANY(%(order_ids)s) AND status = %(source)s
RETURNING {", ".join(_COLUMNS)}, {_LINES}
"""  # noqa: S608 - the names of columns


@dataclass(frozen=True)
class Line:
    """What a customer asks for; the price is the server's."""

    sku: str
    quantity: int


@dataclass(frozen=True)
class Attempt:
    """What became of an attempt to pay: the order as it stands.

    :param payment: the order's, if it has one that is known here
    :param first: whether this call was the one that decided
    """

    order: Order
    payment: client.Payment | None
    first: bool


def place_order(*, customer: Any, lines: Sequence[Line]) -> Order:
    """Place an order, priced by the server, and return it with its lines loaded.

    A repeated call places another order.

    (What makes a repeated *request* harmless is the idempotency key around this call.)

    :raises ProductNotFound: a sku is unknown
    :raises MixedCurrencies: the products are priced in different currencies
    """
    skus = [line.sku for line in lines]
    values = {
        "id": uuid7(),
        "customer": customer.pk,
        "status": Order.Status.SUBMITTED,
        "skus": skus,
        "quantities": [line.quantity for line in lines],
    }
    with step("order-placed"), connection.cursor() as cursor:
        cursor.execute(PLACE, values)
        row = cursor.fetchone()
    if row is None:
        known = Product.objects.in_bulk(skus, field_name="sku")
        unknown = [sku for sku in skus if sku not in known]
        raise ProductNotFound(unknown[0]) if unknown else MixedCurrencies
    failpoint("order-placed")
    return _with_lines(row)


def pay_order(
    *, customer: Any, order_id: UUID, account_id: int, request_id: str = "", key_digest: str = ""
) -> Attempt:
    """Pay an order from an account of the customer's: 0→1, charge, 1→2 or 3, one transaction.

    The first call decides. A repeated one changes nothing and returns the order as it stands:
    still paying, paid or failed. Where it raises, the transaction that it is in is rolled back.

    :param request_id: of the customer's request, and the digest of its key: for the logs of both
        systems
    :raises OrderNotFound: there is no such order of this customer's
    :raises client.AccountNotFound: there is no such account of this customer's
    :raises client.CurrencyMismatch: the account is kept in another currency
    :raises client.PaymentMismatch: the order id was paid past this service with other terms
    """
    with transaction.atomic(savepoint=False):
        order = advance(
            order_id, Order.start_paying, customer_id=customer.pk, account_id=account_id
        )
        if order is None:
            return _as_it_stands(customer=customer, order_id=order_id, account_id=account_id)
        failpoint("order-claimed")
        if client.is_remote():
            outbox.write(
                order,
                customer=customer.get_username(),
                request_id=request_id,
                key_digest=key_digest,
            )
            failpoint("payment-requested")
            return Attempt(order, None, first=True)
        payment = client.pay(
            order_id=order_id,
            account_id=account_id,
            amount=order.amount,
            currency=order.currency,
            customer=customer.get_username(),
        )
        end = Order.complete if payment.succeeded else Order.fail
        [settled] = _advance(SETTLE, end, order_id=order_id)  # this transaction holds the order
        order.status, order.updated_at = settled
        failpoint("order-settled")
    return Attempt(order, payment, first=True)


def settle_orders(results: Collection[outbox.Result]) -> list[Attempt]:
    """Settle paying orders as their payments were decided elsewhere: 1→2 or 1→3.

    A repeated call, or a late duplicate of a result, changes nothing: its order is not returned.
    """
    settled = []
    with transaction.atomic(savepoint=False):
        for end, succeeded in ((Order.complete, True), (Order.fail, False)):
            decided = {
                each.order_id: each for each in results if each.payment.succeeded is succeeded
            }
            rows = _advance(SETTLE_ALL, end, order_ids=list(decided)) if decided else []
            settled += [(order, decided[order.pk]) for order in map(_with_lines, rows)]
        if settled:
            outbox.close([result for _, result in settled])
            failpoint("order-settled")
    return [Attempt(order, result.payment, first=True) for order, result in settled]


def advance(
    order_id: UUID,
    transition: Transition,
    *,
    customer_id: int | None = None,
    account_id: int | None = None,
) -> Order | None:
    """Take a transition by compare-and-set; the order for the one caller whose UPDATE matched.

    Source and target come from the transition's declaration. A repeated call matches no row,
    changes nothing and returns None.

    :param customer_id: whose order it has to be; None: anybody's
    :param account_id: to pay from, where the order has none yet
    """
    given = {"order_id": order_id, "customer": customer_id, "account_id": account_id}
    rows = _advance(ADVANCE, transition, **given)
    return _with_lines(rows[0]) if rows else None


def _advance(statement: str, transition: Transition, **given: Any) -> list[Sequence[Any]]:
    source, target = declared_by(transition)
    with step(f"{source}→{target}") as won, connection.cursor() as cursor:
        cursor.execute(statement, given | {"source": source, "target": target})
        rows: list[Sequence[Any]] = cursor.fetchall()
        won.rows = cursor.rowcount
    return rows


def declared_by(transition: Transition) -> tuple[int, int]:
    """Return the source and target that a transition method declares."""
    (declared,) = transition._django_fsm.transitions.values()  # type: ignore[attr-defined]
    return declared.source, declared.target


def is_settled_within(order_id: UUID, *, seconds: int | None) -> bool:
    """Wait for a paying order to be settled; return True if it is.

    :param seconds: how long; None: for a short while, and only while the payment system responds
    """

    def settled() -> bool | None:
        outlook = outbox.outlook(order_id)
        if outlook is outbox.Outlook.SILENT and seconds is None:
            return None
        return outlook is outbox.Outlook.SETTLED

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
        return Order.objects.get(pk=order_id, customer=customer)
    except Order.DoesNotExist as error:
        raise OrderNotFound from error


def _as_it_stands(*, customer: Any, order_id: UUID, account_id: int) -> Attempt:
    """Return an order that this call can't pay, or raise why it can't."""
    if not client.is_remote():
        client.check_account(owner=customer, account_id=account_id)
    _hold_if_paying(customer=customer, order_id=order_id)
    order = find_order(customer=customer, order_id=order_id)
    return Attempt(order, payments_of([order_id]).get(order_id), first=False)


def _hold_if_paying(*, customer: Any, order_id: UUID) -> None:
    """Keep a paying order from being settled until this transaction has ended.

    A 202 that is stored meanwhile is then among those that the settling transaction replaces.
    """
    paying = Order.objects.filter(pk=order_id, customer=customer, status=Order.Status.PAYING)
    with step("1→1") as held:
        held.rows = paying.update(status=Order.Status.PAYING)


def _with_lines(row: Sequence[Any]) -> Order:
    """Return an order of the columns that a statement returned, the last one its lines."""
    *columns, lines = row
    order = Order.from_db(connection.alias, _COLUMNS, columns)
    order.loaded_lines = [OrderLine(**line | {"order_id": order.pk}) for line in lines]
    return order
