"""Shared by all sections of the dashboard: permissions, short lists, and durations."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar, Generic, Self, TypeVar

from django.apps import apps
from django.utils.translation import gettext_lazy as _

ROWS_MAX = 50  # of any list; the page says whether there are more
UNITS = (
    (86_400, _("%(amount)d d")),
    (3_600, _("%(amount)d h")),
    (60, _("%(amount)d min")),
    (1, _("%(amount)d s")),
)

VIEW_ORDERS = "orders.view_order"
VIEW_REQUESTS = "orders.view_paymentrequest"
CHANGE_ORDERS = "orders.change_order"
VIEW_PAYMENTS = "payments.view_payment"
VIEW_RECORDS = "idempotency.view_record"
VIEW_JOURNAL = "idempotency_journal.view_journaledrequest"
VIEW_TOKENS = "idempotency.view_token"

Row = TypeVar("Row")


def may(user: Any, right: str) -> bool:
    """Return True if a user has a right on rows that this process has at all."""
    return right.partition(".")[0] in apps.app_configs and bool(user.has_perm(right))


@dataclass(frozen=True)
class Listed(Generic[Row]):
    """The first rows of a query, and whether there are more."""

    rows: list[Row]
    more: bool = False

    read: ClassVar[int] = ROWS_MAX + 1

    @classmethod
    def of(cls, results: Iterable[Row]) -> Self:
        """Read the first rows, and one more to know whether there is one."""
        rows = list(islice(results, cls.read))
        return cls(rows[:ROWS_MAX], len(rows) > ROWS_MAX)


def duration(seconds: float) -> str:
    """Return a time in its two largest units, as in `3 h 5 min`."""
    left = max(0, int(seconds))
    parts: list[str] = []
    for size, text in UNITS:
        amount, left = divmod(left, size)
        if amount or (size == 1 and not parts):
            parts.append(text % {"amount": amount})
    return " ".join(parts[:2])
