"""The rows that reconciliation reads from each side, sorted by order id."""

from datetime import datetime
from typing import LiteralString, NamedTuple
from uuid import UUID

from django.utils.translation import gettext_noop as _

ORDERS: LiteralString = (
    "SELECT id, status, amount, currency, account_id, updated_at FROM orders_order ORDER BY id"
)
PAYMENTS: LiteralString = (
    "SELECT order_id, outcome, amount, currency, account_id, created_at"
    " FROM payments_payment ORDER BY order_id"
)
SUBMITTED, PAYING, PAID = 0, 1, 2  # statuses of an order
SUCCEEDED = "succeeded"  # an outcome of a payment
# In words here, since either system's models may be in another process.
STATUS_NAMES = {SUBMITTED: _("submitted"), PAYING: _("paying"), PAID: _("paid"), 3: _("failed")}
OUTCOME_NAMES = {SUCCEEDED: _("succeeded"), "declined": _("declined"), None: _("undecided")}


class OrderRow(NamedTuple):
    """An order, as the orders' side has it."""

    id: UUID
    status: int
    amount: int
    currency: str
    account_id: int | None
    updated_at: datetime

    @property
    def state(self) -> str:
        """The status in words."""
        return STATUS_NAMES.get(self.status, str(self.status))


class PaymentRow(NamedTuple):
    """A payment, as the payments' side has it."""

    order_id: UUID
    outcome: str | None
    amount: int
    currency: str
    account_id: int | None  # none: declined before any account was charged
    created_at: datetime

    @property
    def state(self) -> str:
        """The outcome in words."""
        return OUTCOME_NAMES.get(self.outcome, str(self.outcome))
