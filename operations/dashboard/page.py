"""The operations dashboard in the admin: duplicates, pending orders, outbox, mismatches, search.

A section is for those who may view its rows, in a process that has them. The page reads only; its
one button is a POST that is safe to send any number of times.
"""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from operations.dashboard import queue
from operations.dashboard.check import check, may_check
from operations.dashboard.duplicates import duplicates
from operations.dashboard.lists import (
    CHANGE_ORDERS,
    VIEW_JOURNAL,
    VIEW_ORDERS,
    VIEW_PAYMENTS,
    VIEW_RECORDS,
    VIEW_REQUESTS,
    VIEW_TOKENS,
    may,
)
from operations.dashboard.search import TEXT_CHARACTERS_MAX, search
from web.database.replica import from_replica
from web.given_up import cancelled_when_given_up

RIGHTS = (VIEW_ORDERS, VIEW_REQUESTS, VIEW_RECORDS, VIEW_PAYMENTS, VIEW_TOKENS, VIEW_JOURNAL)
REQUEUED = _("Requeued.")
NOT_DEAD_LETTERED = _("It was not dead-lettered, nothing changed.")
BUSY = _("The database was busy. Nothing changed; try again.")


def is_for(user: Any) -> bool:
    """Return True if the dashboard has anything to show to a user."""
    return any(may(user, right) for right in RIGHTS)


@require_safe
def show(request: HttpRequest, site: AdminSite) -> HttpResponse:
    """Show the dashboard as things are now; reads only."""
    text = request.GET.get("q", "").strip()
    context = {
        **site.each_context(request),
        "title": _("Operations dashboard"),
        "is_for_user": is_for(request.user),
        "text": text[:TEXT_CHARACTERS_MAX],
        "text_characters_max": TEXT_CHARACTERS_MAX,
    }

    def page() -> HttpResponse:
        context["found"] = search(request.user, text) if text else None
        context.update(_sections(request))
        return TemplateResponse(request, "admin/dashboard.html", context).render()

    return from_replica(page)


def _sections(request: HttpRequest) -> dict[str, Any]:
    user = request.user
    shown: dict[str, Any] = {
        "sees_orders": may(user, VIEW_ORDERS),
        "sees_requests": may(user, VIEW_REQUESTS),
        "may_requeue": may(user, CHANGE_ORDERS),
        "may_check": may_check(user),
    }
    if shown["sees_orders"]:
        shown |= {"pending": queue.pending_orders(), "pending_count": queue.count_pending()}
    if shown["sees_requests"]:
        shown |= {"backlog": queue.backlog(), "dead_letters": queue.dead_letters()}
        # Where payments are made in this process, nothing is ever in the outbox.
        shown["shows_outbox"] = shown["backlog"].is_remote or shown["backlog"].open
    if may(user, VIEW_JOURNAL):
        shown["duplicates"] = duplicates()
    if shown["may_check"] and request.GET.get("check") == "1":
        with cancelled_when_given_up(request) as given_up:
            shown["check"] = check(given_up)
    return shown


def requeue(request: HttpRequest, order_id: UUID) -> HttpResponse:
    """Requeue a dead-lettered payment; clicked twice, it is requeued and logged once."""
    if not (may(request.user, VIEW_REQUESTS) and may(request.user, CHANGE_ORDERS)):
        raise PermissionDenied
    if request.method == "POST":  # a GET comes from the sign-in page, after a click
        try:
            level, text = (
                (messages.SUCCESS, REQUEUED)
                if queue.requeue_and_log(order_id, user=request.user)
                else (messages.INFO, NOT_DEAD_LETTERED)
            )
        except OperationalError:
            level, text = messages.ERROR, BUSY
        messages.add_message(request, level, f"{order_id}: {text}")
    return HttpResponseRedirect(reverse("admin:dashboard"))
