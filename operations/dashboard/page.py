"""The operations dashboard in the admin: what waits, what disagrees, duplicates, and a search.

Each part is for those who may view its rows, in a process that has them. The page reads only; its
one button is a POST that may be sent any number of times.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.apps import apps
from django.conf import settings
from django.contrib import messages
from django.contrib.admin import AdminSite
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.exceptions import PermissionDenied
from django.db import OperationalError, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import gettext_noop, ngettext
from django.views.decorators.http import require_safe

from operations.dashboard.check import check, may_check
from operations.dashboard.lists import (
    CHANGE_ORDERS,
    VIEW_ORDERS,
    VIEW_PAYMENTS,
    VIEW_RECORDS,
    VIEW_REQUESTS,
    VIEW_TOKENS,
    Listed,
    duration,
    may,
)
from operations.dashboard.plot import plot
from operations.dashboard.search import LONGEST, search
from operations.health import Outbox

if apps.is_installed("orders"):
    from orders import outbox
    from orders.models import Order, PaymentRequest

RIGHTS = (VIEW_ORDERS, VIEW_REQUESTS, VIEW_RECORDS, VIEW_PAYMENTS, VIEW_TOKENS)
REQUEUED = _("Requeued.")
NOT_DEAD_LETTERED = _("It was not dead-lettered, nothing changed.")
BUSY = _("The database was busy. Nothing changed; try again.")
# Stored as it is here; a reader's language is for whoever shows it.
LOGGED = gettext_noop("Its payment was requeued, from the dashboard.")


@dataclass(frozen=True)
class Paying:
    """An order in 1: for how long, and what its payment request has come to."""

    order: Any
    waits: str
    outbox: str | Promise


@dataclass(frozen=True)
class Backlog:
    """The payments to ask for, in numbers."""

    open: int
    oldest: str
    unknown: int
    retries: int
    is_stuck: bool
    stuck_after: str
    is_remote: bool


@dataclass(frozen=True)
class DeadLettered:
    """A payment that was refused, with its trouble."""

    request: Any
    waits: str


def is_for(user: Any) -> bool:
    """Say whether the dashboard shows somebody anything."""
    return any(may(user, right) for right in RIGHTS)


@require_safe
def show(request: HttpRequest, site: AdminSite) -> HttpResponse:
    """Show the dashboard as things stand; reads only."""
    text = request.GET.get("q", "").strip()
    context = {
        **site.each_context(request),
        "title": _("Operations dashboard"),
        "is_for_user": is_for(request.user),
        "text": text[:LONGEST],
        "longest": LONGEST,
        "found": search(request.user, text) if text else None,
        **_sections(request),
    }
    return TemplateResponse(request, "admin/dashboard.html", context)


def _sections(request: HttpRequest) -> dict[str, Any]:
    user = request.user
    shown: dict[str, Any] = {
        "sees_orders": may(user, VIEW_ORDERS),
        "sees_requests": may(user, VIEW_REQUESTS),
        "may_requeue": may(user, CHANGE_ORDERS),
        "may_check": may_check(user),
    }
    if shown["sees_orders"]:
        shown |= {"paying": _paying(), "paying_count": _all_paying().count()}
    if shown["sees_requests"]:
        shown |= {"backlog": _backlog(), "dead_lettered": _dead_lettered()}
    if may(user, VIEW_RECORDS):
        shown["plot"] = plot()
    if shown["may_check"] and request.GET.get("check") == "1":
        shown["check"] = check()
    return shown


def requeue(request: HttpRequest, order_id: UUID) -> HttpResponse:
    """Put a dead-lettered payment back into the queue; sent twice, this is done and logged once."""
    if not (may(request.user, VIEW_REQUESTS) and may(request.user, CHANGE_ORDERS)):
        raise PermissionDenied
    if request.method == "POST":  # else as after signing in on the way here
        try:
            level, text = (
                (messages.SUCCESS, REQUEUED)
                if _requeued(request, order_id)
                else (messages.INFO, NOT_DEAD_LETTERED)
            )
        except OperationalError:
            level, text = messages.ERROR, BUSY
        messages.add_message(request, level, f"{order_id}: {text}")
    return HttpResponseRedirect(reverse("admin:dashboard"))


@transaction.atomic
def _requeued(request: HttpRequest, order_id: UUID) -> bool:
    # Won or lost here: of two clicks, the second waits for the first, then matches no row.
    if outbox.requeue([order_id]) != 1:
        return False
    with translation.override(None):  # the log is kept in one language
        LogEntry.objects.log_actions(
            user_id=str(request.user.pk),
            queryset=Order.objects.filter(pk=order_id),
            action_flag=CHANGE,
            change_message=LOGGED,
        )
    return True


def _all_paying() -> Any:
    return Order.objects.filter(status=Order.Status.PAYING)


def _paying() -> Listed[Paying]:
    rows = _all_paying().select_related("customer", "payment_request")
    rows = rows.defer("payment_request__body", "payment_request__response").order_by("updated_at")
    found = Listed[Any].of(rows[: Listed.read])
    return Listed(
        [Paying(order, _since(order.updated_at), _state_of(order)) for order in found.rows],
        found.more,
    )


def _state_of(order: Any) -> str | Promise:
    """Say what the outbox has of an order that is paying."""
    try:
        request: PaymentRequest = order.payment_request
    except PaymentRequest.DoesNotExist:
        return _("nothing in the outbox")
    if request.dead_lettered:
        return _("dead-lettered")
    if request.settled_at:
        return _("settled")
    if not request.attempts:
        return _("not asked for yet")
    asked = ngettext("asked for once", "asked for %(count)d times", request.attempts)
    return asked % {"count": request.attempts}


def _backlog() -> Backlog:
    now = Outbox.look()
    return Backlog(
        open=now.open,
        oldest=duration(now.oldest_seconds) if now.open else "-",
        unknown=now.unknown,
        retries=now.retries,
        is_stuck=now.is_stuck,
        stuck_after=duration(settings.OUTBOX_STUCK_SECONDS),
        is_remote=bool(settings.PAYMENTS_URL),
    )


def _dead_lettered() -> Listed[DeadLettered]:
    rows = PaymentRequest.objects.filter(dead_lettered=True, settled_at=None).defer(
        "body", "response"
    )
    found = Listed[Any].of(rows.order_by("created_at")[: Listed.read])
    return Listed([DeadLettered(row, _since(row.created_at)) for row in found.rows], found.more)


def _since(moment: datetime) -> str:
    return duration((timezone.now() - moment).total_seconds())
