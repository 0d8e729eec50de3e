"""Compares orders with payments, each in a database of its own, in SQL of its own.

Both sides are streams sorted by order id, joined as they come: memory doesn't grow with the rows.

Two databases have no common snapshot, so one is read first, and it has to be the orders. A payment
commits before its order becomes paid: an order that is paid in the orders' snapshot has its payment
in the later snapshot of payments, so the skew never makes a paid order look unpaid. (The other way
round it would, with each order paid between the two.) What the skew does show is a payment whose
order was settled, or even placed, only after orders were read. The time of both databases is
read before either of them is, so the age of such a payment is below zero, or at most as long as it
took to commit: it is in flight.

A difference is as old as the younger of its two rows, each by the clock of its own database: it
can't have been there before. The grace has to be longer than what these times leave open: how long
a payment takes to commit, how far the clocks of servers differ, how far a replica lags.

A second payment of an order id, which UNIQUE refuses, would stand alone: as one without an order.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, TypeVar
from uuid import UUID

from operations.reconciliation.report import Difference, DifferenceKind, ReconciliationReport
from operations.reconciliation.rows import (
    ORDERS,
    PAID,
    PAYING,
    PAYMENTS,
    SUCCEEDED,
    OrderRow,
    PaymentRow,
)
from operations.reconciliation.sides import Side, connected, snapshot


class Placed(Protocol):
    """An order's row, of whichever query."""

    @property
    def id(self) -> UUID: ...


class Made(Protocol):
    """A payment's row, of whichever query."""

    @property
    def order_id(self) -> UUID: ...


AnOrder = TypeVar("AnOrder", bound=Placed)
APayment = TypeVar("APayment", bound=Made)


@dataclass(frozen=True)
class Clocks:
    """The time of each database's server before either was read."""

    orders: datetime
    payments: datetime


def reconcile(*, orders: Side, payments: Side, grace: timedelta) -> ReconciliationReport:
    """Compare both sides by order id; reads only, and a repeated call compares anew.

    :param grace: a difference younger than this is in flight
    :raises SideUnreadable: a database is down, lacks the tables, or went away
    """
    with connected(orders) as ordering, connected(payments) as paying:
        clocks = Clocks(orders=ordering.now, payments=paying.now)
        # The orders' snapshot is the first; the module's docstring says why.
        with (
            snapshot(ordering, ORDERS, OrderRow) as placed,
            snapshot(paying, PAYMENTS, PaymentRow) as made,
        ):
            return compare(orders=placed, payments=made, clocks=clocks, grace=grace)


def compare(
    *, orders: Iterable[OrderRow], payments: Iterable[PaymentRow], clocks: Clocks, grace: timedelta
) -> ReconciliationReport:
    """Compare rows that are sorted by order id; lists the first differences and counts the others.

    :param grace: a difference younger than this is in flight
    """
    report = ReconciliationReport(grace)
    for order, payment in outer_join(orders, payments):
        report.orders += order is not None
        report.payments += payment is not None
        for kind in kinds_of(order, payment):
            report.kinds[kind].add(_difference(kind, order, payment, clocks, grace))
    return report


def outer_join(
    orders: Iterable[AnOrder], payments: Iterable[APayment]
) -> Iterator[tuple[AnOrder | None, APayment | None]]:
    """Pair rows that are sorted by order id, as they come; None where a row stands alone."""
    placed, made = iter(orders), iter(payments)
    order, payment = next(placed, None), next(made, None)
    while order is not None or payment is not None:
        if payment is None or (order is not None and order.id < payment.order_id):
            yield order, None
            order = next(placed, None)
        elif order is None or payment.order_id < order.id:
            yield None, payment
            payment = next(made, None)
        else:
            yield order, payment
            order, payment = next(placed, None), next(made, None)


def kinds_of(order: OrderRow | None, payment: PaymentRow | None) -> Iterator[DifferenceKind]:
    """Yield each way in which the two sides of one order id don't agree."""
    paid = order is not None and order.status == PAID
    charged = payment is not None and payment.outcome == SUCCEEDED
    if paid and not charged:
        yield DifferenceKind.UNPAID
    if charged and not paid:
        yield DifferenceKind.UNSETTLED
    if order and payment and order.status >= PAYING and not _agree(order, payment):
        yield DifferenceKind.TERMS
    if order and order.status == PAYING:
        yield DifferenceKind.PAYING


def _agree(order: OrderRow, payment: PaymentRow) -> bool:
    """Return True if a payment is on its order's terms; without an account, it is for any."""
    on_account = payment.account_id in {None, order.account_id}
    return on_account and (order.amount, order.currency) == (payment.amount, payment.currency)


def _difference(
    kind: DifferenceKind,
    order: OrderRow | None,
    payment: PaymentRow | None,
    clocks: Clocks,
    grace: timedelta,
) -> Difference:
    times = []
    if order is not None:
        times.append((clocks.orders - order.updated_at, order.updated_at, order.id))
    if (
        payment is not None and kind is not DifferenceKind.PAYING
    ):  # that one is about the order alone
        made = payment.created_at
        times.append((clocks.payments - made, made, payment.order_id))
    age, since, order_id = min(times)
    return Difference(order_id, order, payment, since, age, in_flight=age < grace)
