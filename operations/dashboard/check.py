"""The mismatches on the dashboard: the audit's rules, and orders compared with payments.

The check reads everything, so it starts with a click of its own, runs once at a time in a process,
and is for those who may view all that it reads. A database that can't be read is a sentence.
"""

import os
import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.apps import apps
from django.db import Error
from django.urls import reverse
from django.utils import timezone
from django.utils.text import capfirst
from django.utils.translation import gettext

from operations import audit
from operations.dashboard.lists import (
    VIEW_ORDERS,
    VIEW_PAYMENTS,
    VIEW_RECORDS,
    Listed,
    duration,
    may,
)
from operations.reconciliation.comparison import reconcile
from operations.reconciliation.report import Difference, ReconciliationReport
from operations.reconciliation.rows import OrderRow, PaymentRow
from operations.reconciliation.sides import SideUnreadable, find_side

GRACE = timedelta(seconds=60)
SIDES = ("orders", "payments")

_running = threading.Lock()


@dataclass(frozen=True)
class ShownDifference:
    """A difference as the dashboard shows it."""

    order_id: str
    order: str
    payment: str
    age: str
    in_flight: bool
    order_url: str
    payment_url: str


@dataclass(frozen=True)
class ShownDifferences:
    """The differences of one kind."""

    title: str
    old: int
    in_flight: int
    listed: Listed[ShownDifference]


@dataclass
class Check:
    """The result of a check; an error says which part of it failed, and why."""

    at: datetime = field(default_factory=timezone.now)
    findings: list[audit.Finding] = field(default_factory=list)
    report: ReconciliationReport | None = None
    errors: list[str] = field(default_factory=list)

    @property
    def breaches(self) -> list[audit.Finding]:
        return [finding for finding in self.findings if finding.breaches]

    @property
    def differences(self) -> list[ShownDifferences]:
        kinds = self.report.kinds.items() if self.report else ()
        return [
            ShownDifferences(
                capfirst(gettext(kind.value)),
                each.old.count,
                each.in_flight.count,
                Listed.of(_shown(difference) for difference in each.first),
            )
            for kind, each in kinds
            if each.first
        ]


def may_check(user: Any) -> bool:
    """Return True if a user may view all that a check reads."""
    here = [VIEW_ORDERS, VIEW_PAYMENTS, VIEW_RECORDS]
    rights = [right for right in here if apps.is_installed(right.partition(".")[0])]
    return all(may(user, right) for right in rights)


def check(given_up: threading.Event) -> Check:
    """Check everything now; while another check of this process runs, only report that.

    :param given_up: when it is set, nobody waits for the rest
    """
    done = Check()
    if not _running.acquire(blocking=False):
        done.errors.append(gettext("Somebody's check is still running. Try again in a moment."))
        return done
    try:
        _audit(done)
        if not given_up.is_set():
            _compare(done)
    finally:
        _running.release()
    return done


def _audit(done: Check) -> None:
    try:
        done.findings = audit.check_invariants()
    except Error as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        text = gettext("This database could not be checked: %(reason)s")
        done.errors.append(text % {"reason": reason})


def _compare(done: Check) -> None:
    if unknown := [side for side in SIDES if not _is_known(side)]:
        named = {"variables": ", ".join(f"{side.upper()}_DATABASE_URL" for side in unknown)}
        text = gettext("Orders were not compared with payments: %(variables)s is not set.")
        done.errors.append(text % named)
        return
    try:
        orders, payments = (find_side(name=side, url=None) for side in SIDES)
        done.report = reconcile(orders=orders, payments=payments, grace=GRACE)
    except SideUnreadable as error:
        text = gettext("Orders could not be compared with payments: %(reason)s")
        done.errors.append(text % {"reason": error})


def _is_known(side: str) -> bool:
    return apps.is_installed(side) or bool(os.environ.get(f"{side.upper()}_DATABASE_URL"))


def _shown(difference: Difference) -> ShownDifference:
    order, payment = difference.order, difference.payment
    return ShownDifference(
        order_id=str(difference.order_id),
        order=_terms(order) if order else "",
        payment=_terms(payment) if payment else "",
        age=duration(difference.age.total_seconds()),
        in_flight=difference.in_flight,
        order_url=_order_page(difference) if order else "",
        payment_url=_payment_list(difference) if payment else "",
    )


def _terms(row: OrderRow | PaymentRow) -> str:
    account = gettext("account %(number)s") % {"number": row.account_id or "-"}
    return f"{gettext(row.state)}, {row.amount} {row.currency}, {account}"


def _order_page(difference: Difference) -> str:
    if not apps.is_installed("orders"):
        return ""
    return reverse("admin:orders_order_change", args=[difference.order_id])


def _payment_list(difference: Difference) -> str:
    if not apps.is_installed("payments"):
        return ""
    return f"{reverse('admin:payments_payment_changelist')}?q={difference.order_id}"
