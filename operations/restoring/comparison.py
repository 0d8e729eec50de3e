"""Compares a restored order system with the log archive and with the payment system.

Run it while the shop is closed: then nothing is in flight, and every difference counts.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import LiteralString, NamedTuple
from uuid import UUID

from idempotency.models import Record
from operations.reconciliation.comparison import outer_join
from operations.reconciliation.rows import PAID, PAYING, SUBMITTED, SUCCEEDED
from operations.reconciliation.sides import Side, connected, snapshot
from operations.restoring.archive import Archive, Execution

PROMISED = {200, 202, 402}  # responses to a pay: paid, paying, failed
BATCH = 1_000

ORDERS: LiteralString = (
    "SELECT o.id, o.status, o.amount, o.currency, o.account_id, u.username"
    " FROM orders_order o JOIN auth_user u ON u.id = o.customer_id ORDER BY o.id"
)
PAYMENTS: LiteralString = (
    "SELECT p.order_id, p.outcome, p.amount, p.currency, p.account_id, p.created_at, u.username"
    " FROM payments_payment p LEFT JOIN payments_account a ON a.id = p.account_id"
    " LEFT JOIN auth_user u ON u.id = a.owner_id ORDER BY p.order_id"
)


class OrderRow(NamedTuple):
    """An order, and who placed it."""

    id: UUID
    status: int
    amount: int
    currency: str
    account_id: int | None
    customer: str


class PaymentRow(NamedTuple):
    """A payment, and whose account it is from; without an account, it is for any."""

    order_id: UUID
    outcome: str | None
    amount: int
    currency: str
    account_id: int | None
    created_at: datetime
    customer: str | None


class Kind(Enum):
    """What a restore leaves of an order, and who has to do something about it."""

    GONE = "orders that are gone: for a person"
    REVERTED = "orders that no longer are what their customer got: for a person"
    UNPAID = "paid orders whose payment is gone: for a person"
    CONTRADICTORY = "orders and payments that contradict each other: for a person"
    BEHIND = "orders that their payment is ahead of: --apply, then the relay"
    WAITING = "orders still paying: the relay"


@dataclass(frozen=True)
class Finding:
    """An order id that needs something: both sides of it, and the response that a client got."""

    order_id: UUID
    order: OrderRow | None
    payment: PaymentRow | None
    execution: Execution | None


def _kinds() -> dict[Kind, list[Finding]]:
    return {kind: [] for kind in Kind}


@dataclass
class RestoreReport:
    """What a restore forgot, and what is left to do."""

    executions: int
    damaged: int
    lost_keys: list[Execution]
    kinds: dict[Kind, list[Finding]] = field(default_factory=_kinds)
    dealt_with: int = 0

    @property
    def left(self) -> int:
        """How much is left to do before the shop may open."""
        return self.damaged + len(self.lost_keys) + sum(map(len, self.kinds.values()))


def compare(
    archive: Archive, *, orders: Side, payments: Side, dealt_with: frozenset[UUID]
) -> RestoreReport:
    """Compare all orders with what was logged and paid; reads only, a repeated call reads anew.

    :param dealt_with: order ids that a person has seen to
    :raises SideUnreadable: a database is down, or lacks the tables
    """
    executions = archive.executions
    report = RestoreReport(len(executions), archive.damaged, lost_among(executions))
    for finding in _pairs(archive, orders, payments):
        kind = kind_of(finding)
        if kind and finding.order_id in dealt_with:
            report.dealt_with += 1
        elif kind:
            report.kinds[kind].append(finding)
    return report


def lost_among(executions: list[Execution]) -> list[Execution]:
    """Return those of the executions whose record is gone."""
    lost = []
    for start in range(0, len(executions), BATCH):
        batch = executions[start : start + BATCH]
        there = Record.objects.filter(identity__in=[each.record for each in batch])
        known = set(map(bytes, there.values_list("identity", flat=True)))
        lost += [each for each in batch if each.record not in known]
    return lost


def kind_of(finding: Finding) -> Kind | None:
    """Return what is wrong with an order id, or None."""
    order, payment, execution = finding.order, finding.payment, finding.execution
    charged = payment is not None and payment.outcome == SUCCEEDED
    if order is None:
        return Kind.GONE if charged or execution else None
    if payment is None:
        return _without_payment(order, execution)
    if not _is_payment_of(order, payment):
        return Kind.CONTRADICTORY
    if order.status == SUBMITTED and payment.account_id is None:
        return Kind.REVERTED  # its payment was given up, and which account to name is forgotten
    if order.status in {SUBMITTED, PAYING}:
        return Kind.BEHIND
    return None if charged == (order.status == PAID) else Kind.CONTRADICTORY


def _without_payment(order: OrderRow, execution: Execution | None) -> Kind | None:
    if order.status == PAYING:
        return Kind.WAITING
    if order.status == PAID:
        return Kind.UNPAID
    promised = execution is not None and execution.status in PROMISED
    return Kind.REVERTED if promised and order.status == SUBMITTED else None


def _is_payment_of(order: OrderRow, payment: PaymentRow) -> bool:
    """Return True if a payment is on the order's terms, from an account of its customer's."""
    if (order.amount, order.currency) != (payment.amount, payment.currency):
        return False
    if payment.account_id is None:
        return True
    account_id = order.account_id or payment.account_id  # a submitted order has none yet
    return (account_id, order.customer) == (payment.account_id, payment.customer)


def _pairs(archive: Archive, orders: Side, payments: Side) -> Iterator[Finding]:
    acknowledged = archive.acknowledged()
    with (
        connected(orders) as ordering,
        connected(payments) as paying,
        snapshot(ordering, ORDERS, OrderRow) as placed,
        snapshot(paying, PAYMENTS, PaymentRow) as made,
    ):
        for order, payment in outer_join(placed, made):
            order_id = order.id if order else payment.order_id  # type: ignore[union-attr]
            yield Finding(order_id, order, payment, acknowledged.pop(order_id, None))
    for order_id, execution in acknowledged.items():
        yield Finding(order_id, None, None, execution)
