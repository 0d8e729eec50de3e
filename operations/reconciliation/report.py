"""The report of a comparison: counts of both sides, and the differences by kind."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from uuid import UUID

from django.utils.translation import gettext_noop as _

from operations.reconciliation.rows import OrderRow, PaymentRow

LISTED_MAX = 1_000  # of each kind, old and in flight each; the others are only counted


class DifferenceKind(Enum):
    """The ways to differ; a failed order with a payment that succeeded is UNSETTLED."""

    UNPAID = _("paid orders without a succeeded payment")
    UNSETTLED = _("succeeded payments without a paid order")
    TERMS = _("orders and payments on different terms")
    PAYING = _("orders still paying")


@dataclass(frozen=True)
class Difference:
    """Both sides of an order id that don't agree, since when, and whether that may be the skew."""

    order_id: UUID
    order: OrderRow | None
    payment: PaymentRow | None
    since: datetime
    age: timedelta
    in_flight: bool


@dataclass
class DifferenceList:
    """The number of differences, and the first of them by order id."""

    count: int = 0
    first: list[Difference] = field(default_factory=list)

    def add(self, difference: Difference) -> None:
        """Count a difference, and list the first ones; a repeated call counts again."""
        self.count += 1
        if self.count <= LISTED_MAX:
            self.first.append(difference)


@dataclass
class KindReport:
    """The differences of one kind: those that count, and those that may still settle themselves."""

    old: DifferenceList = field(default_factory=DifferenceList)
    in_flight: DifferenceList = field(default_factory=DifferenceList)

    def add(self, difference: Difference) -> None:
        """Count a difference where it belongs; a repeated call counts again."""
        (self.in_flight if difference.in_flight else self.old).add(difference)

    @property
    def first(self) -> list[Difference]:
        """The first differences, those that count before those in flight."""
        return self.old.first + self.in_flight.first


def _kind_reports() -> dict[DifferenceKind, KindReport]:
    return {kind: KindReport() for kind in DifferenceKind}


@dataclass
class ReconciliationReport:
    """The rows compared on each side, and the differences by kind."""

    grace: timedelta
    orders: int = 0
    payments: int = 0
    kinds: dict[DifferenceKind, KindReport] = field(default_factory=_kind_reports)

    @property
    def differences(self) -> int:
        """The number of differences older than the grace."""
        return sum(kind.old.count for kind in self.kinds.values())
