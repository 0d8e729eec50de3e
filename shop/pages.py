"""What the shop's pages have in common: who may see them, how they fail, and where they lead."""

import functools
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import reverse
from django.utils.cache import patch_cache_control
from django.utils.translation import gettext_lazy as _

from idempotency.errors import RateLimited
from orders.errors import OrderNotFound
from web.pages import error_page

View = Callable[..., HttpResponse]

# Why a page is shown again, by what its address says.
NOTES = {
    "renewed": _("This page had been open for too long. Nothing was charged; here is a new one."),
    "account": _("Choose one of your accounts. Nothing was charged."),
    "terms": _("This order's payment was made on other terms. Nothing was charged."),
    "changed": _("The basket was changed in another tab. Nothing was ordered; please look again."),
    "unorderable": _("Something in the basket can't be ordered any more. Nothing was ordered."),
    "edited": _("The quantities were changed. Look at the new total, then place the order."),
    "full": _("A basket holds at most 100 different products. Nothing was changed."),
    "quantity": _("A quantity is a whole number from 0 to 1000. Nothing was changed."),
}


def page(view: View) -> View:
    """Make a view a customer's own page: signed in, and every failure told in words."""
    return page_for_all(login_required(view))


def page_for_all(view: View) -> View:
    """Make a view a page that tells every failure in words."""

    @functools.wraps(view)
    def shown(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            response = view(request, *args, **kwargs)
        except OrderNotFound:
            return error_page(request, 404)
        except RateLimited as error:
            return error_page(request, 429, retry_after=error.retry_after)
        patch_cache_control(response, private=True)
        return _for_script(request, response)

    return shown


def _for_script(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """Tell the page's script where to go, instead of having it load that page, and again."""
    if response.status_code != SeeOther.status_code or not request.headers.get("X-Asked-By"):
        return response
    told = JsonResponse({"location": response["Location"]})
    told.final_response = getattr(response, "final_response", response)  # type: ignore[attr-defined]
    if "Idempotent-Replayed" in response:
        told["Idempotent-Replayed"] = "true"
    return told


class SeeOther(HttpResponseRedirect):
    """The answer to a form: look there for what it came to (RFC 9110, 303)."""

    status_code = 303


def leading_to(view: str, order_id: UUID, done: HttpResponse) -> HttpResponse:
    """Translate an answer of the API into the page that shows what it says."""
    response = SeeOther(reverse(view, args=[order_id]))
    response.final_response = done  # type: ignore[attr-defined]  # counted by the metrics
    if "Idempotent-Replayed" in done:
        response["Idempotent-Replayed"] = "true"
    return response


def back_to(view: str, *args: object, note: str = "") -> HttpResponse:
    """Lead to a page; `note` is what to say there."""
    there = reverse(view, args=args)
    return SeeOther(f"{there}?note={note}" if note else there)


def note_of(request: HttpRequest) -> dict[str, Any]:
    return {"note": NOTES.get(request.GET.get("note", ""))}
