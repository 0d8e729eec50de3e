"""What disagrees, asked for on the dashboard: the audit's rules, and orders compared with payments.

It reads everything, so it is asked for by a click of its own, runs once at a time in a process, and
is shown to whoever may view all that it reads. A database that can't be read is a sentence.
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
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from operations import audit, reconciliation
from operations.dashboard.lists import (
    VIEW_ORDERS,
    VIEW_PAYMENTS,
    VIEW_RECORDS,
    Listed,
    duration,
    may,
)
from operations.reconciliation import Difference, Kind, Report, SideUnreadable, find_side, reconcile

GRACE = timedelta(seconds=60)
SIDES = ("orders", "payments")

TITLES: dict[Kind, Promise] = {
    Kind.UNPAID: _("Paid orders without a succeeded payment"),
    Kind.UNSETTLED: _("Succeeded payments without a paid order"),
    Kind.TERMS: _("Orders and payments on different terms"),
    Kind.PAYING: _("Orders still paying"),
}
STATES: dict[int | str | None, Promise] = {
    0: _("submitted"),
    1: _("paying"),
    2: _("paid"),
    3: _("failed"),
    "succeeded": _("succeeded"),
    "declined": _("declined"),
    None: _("undecided"),
}

_turn = threading.Lock()


@dataclass(frozen=True)
class Shown:
    """A difference as the dashboard shows it."""

    order_id: str
    order: str
    payment: str
    age: str
    in_flight: bool
    order_url: str
    payment_url: str


@dataclass(frozen=True)
class Differences:
    """The differences of one kind."""

    title: Promise
    old: int
    in_flight: int
    listed: Listed[Shown]


@dataclass
class Check:
    """What a check found; where it could not look, the trouble says why."""

    at: datetime = field(default_factory=timezone.now)
    findings: list[audit.Finding] = field(default_factory=list)
    report: Report | None = None
    troubles: list[str] = field(default_factory=list)

    @property
    def breaches(self) -> list[audit.Finding]:
        return [finding for finding in self.findings if finding.breaches]

    @property
    def differences(self) -> list[Differences]:
        found = self.report.found.items() if self.report else ()
        return [
            Differences(
                TITLES[kind],
                each.old.count,
                each.in_flight.count,
                Listed.of(_shown(difference) for difference in each.first),
            )
            for kind, each in found
            if each.first
        ]


def may_check(user: Any) -> bool:
    """Say whether somebody may view all that a check reads."""
    here = [VIEW_ORDERS, VIEW_PAYMENTS, VIEW_RECORDS]
    rights = [right for right in here if apps.is_installed(right.partition(".")[0])]
    return all(may(user, right) for right in rights)


def check() -> Check:
    """Check everything now; a call while another one of this process checks looks at nothing."""
    done = Check()
    if not _turn.acquire(blocking=False):
        done.troubles.append(gettext("Somebody's check is still running. Try again in a moment."))
        return done
    try:
        _audit(done)
        _compare(done)
    finally:
        _turn.release()
    return done


def _audit(done: Check) -> None:
    try:
        done.findings = audit.check_invariants()
    except Error as error:
        said = {"reason": str(error).strip().partition("\n")[0] or type(error).__name__}
        done.troubles.append(gettext("This database could not be checked: %(reason)s") % said)


def _compare(done: Check) -> None:
    if unknown := [side for side in SIDES if not _is_known(side)]:
        named = {"variables": ", ".join(f"{side.upper()}_DATABASE_URL" for side in unknown)}
        text = gettext("Orders were not compared with payments: %(variables)s is not set.")
        done.troubles.append(text % named)
        return
    try:
        orders, payments = (find_side(name=side, url=None) for side in SIDES)
        done.report = reconcile(orders=orders, payments=payments, grace=GRACE)
    except SideUnreadable as error:
        text = gettext("Orders could not be compared with payments: %(reason)s")
        done.troubles.append(text % {"reason": error})


def _is_known(side: str) -> bool:
    return apps.is_installed(side) or bool(os.environ.get(f"{side.upper()}_DATABASE_URL"))


def _shown(difference: Difference) -> Shown:
    order, payment = difference.order, difference.payment
    return Shown(
        order_id=str(difference.order_id),
        order=_terms(order.status, order) if order else "",
        payment=_terms(payment.outcome, payment) if payment else "",
        age=duration(difference.age.total_seconds()),
        in_flight=difference.in_flight,
        order_url=_order_page(difference) if order else "",
        payment_url=_payment_list(difference) if payment else "",
    )


def _terms(state: int | str | None, row: reconciliation.Order | reconciliation.Payment) -> str:
    account = gettext("account %(number)s") % {"number": row.account_id or "-"}
    return f"{STATES.get(state, state)}, {row.amount} {row.currency}, {account}"


def _order_page(difference: Difference) -> str:
    if not apps.is_installed("orders"):
        return ""
    return reverse("admin:orders_order_change", args=[difference.order_id])


def _payment_list(difference: Difference) -> str:
    if not apps.is_installed("payments"):
        return ""
    return f"{reverse('admin:payments_payment_changelist')}?q={difference.order_id}"
