"""The payments that wait: pending orders, the outbox, dead letters, and the button to requeue."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.apps import apps
from django.conf import settings
from django.contrib.admin.models import CHANGE, LogEntry
from django.db import transaction
from django.utils import translation
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import gettext_noop, ngettext

from operations.dashboard.lists import Listed, duration
from operations.health import Outbox

if apps.is_installed("orders"):
    from orders import clock, outbox
    from orders.models import Order, PaymentRequest

# Stored in English; whoever shows the log translates it.
LOGGED = gettext_noop("Its payment was requeued, from the dashboard.")


@dataclass(frozen=True)
class PendingOrder:
    """An order in status 1: for how long, and the state of its payment request."""

    order: Any
    waits: str
    outbox: str | Promise


@dataclass(frozen=True)
class Backlog:
    """The open payment requests, in numbers."""

    open: int
    oldest: str
    unknown: int
    retries: int
    is_stuck: bool
    stuck_after: str
    is_remote: bool


@dataclass(frozen=True)
class DeadLetter:
    """A payment request that was refused, with its last error."""

    request: Any
    waits: str


def count_pending() -> int:
    """Count all orders in status 1."""
    return int(_pending().count())


def pending_orders() -> Listed[PendingOrder]:
    """Return the orders in status 1, oldest first."""
    rows = _pending().select_related("customer", "payment_request")
    rows = rows.defer("payment_request__body", "payment_request__response").order_by("updated_at")
    listed = Listed[Any].of(rows[: Listed.read])
    return Listed(
        [PendingOrder(row, _since(row, row.updated_at), _outbox_state(row)) for row in listed.rows],
        listed.more,
    )


def backlog() -> Backlog:
    """Measure the outbox."""
    measured = Outbox.measure()
    return Backlog(
        open=measured.open,
        oldest=duration(measured.oldest_seconds) if measured.open else "-",
        unknown=measured.unknown,
        retries=measured.retries,
        is_stuck=measured.is_stuck,
        stuck_after=duration(settings.OUTBOX_STUCK_SECONDS),
        is_remote=bool(settings.PAYMENTS_URL),
    )


def dead_letters() -> Listed[DeadLetter]:
    """Return the payment requests that were refused, oldest first."""
    refused = PaymentRequest.objects.filter(dead_lettered=True, settled_at=None)
    rows = refused.annotate(**clock.READ_AT).defer("body", "response")
    listed = Listed[Any].of(rows.order_by("created_at")[: Listed.read])
    return Listed(
        [DeadLetter(row, _since(row, row.created_at)) for row in listed.rows], listed.more
    )


@transaction.atomic
def requeue_and_log(order_id: UUID, *, user: Any) -> bool:
    """Requeue a dead-lettered payment; False, and nothing logged, if it is not dead-lettered."""
    # Won or lost here: of two clicks, the second waits for the first, then matches no row.
    if outbox.requeue([order_id]) != 1:
        return False
    with translation.override(None):  # the log has one language
        LogEntry.objects.log_actions(
            user_id=str(user.pk),
            queryset=Order.objects.filter(pk=order_id),
            action_flag=CHANGE,
            change_message=LOGGED,
        )
    return True


def _pending() -> Any:
    return Order.objects.filter(status=Order.Status.PAYING).annotate(**clock.READ_AT)


def _outbox_state(order: Any) -> str | Promise:
    """Return the state of a pending order's payment request, in words."""
    try:
        request: PaymentRequest = order.payment_request
    except PaymentRequest.DoesNotExist:
        return _("not in the outbox")
    if request.dead_lettered:
        return _("dead-lettered")
    if request.settled_at:
        return _("settled")
    if not request.attempts:
        return _("not sent yet")
    text = ngettext("sent once", "sent %(count)d times", request.attempts)
    return text % {"count": request.attempts}


def _since(row: Any, moment: datetime) -> str:
    return duration((clock.read_at(row) - moment).total_seconds())
