"""What the shop's views share: sign-in, error pages, and redirects to the page with the result."""

import functools
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from idempotency.errors import RateLimited
from orders.errors import OrderNotFound
from web.pages import error_page

View = Callable[..., HttpResponse]

# Messages that a page shows, by the `note` in its address.
NOTES = {
    "renewed": _("This page had been open for too long. Nothing was charged; here is a new one."),
    "account": _("Choose one of your accounts. Nothing was charged."),
    "terms": _("This order's payment was made on other terms. Nothing was charged."),
    "changed": _("The basket was changed in another tab. Nothing was ordered; please check it."),
    "unorderable": _("Something in the basket can't be ordered any more. Nothing was ordered."),
    "edited": _("The quantities were changed. Check the new total, then place the order."),
    "nothing": _("Nothing was chosen: set the quantity of a product to 1 or more."),
    "full": _("A basket holds at most 100 different products. Nothing was changed."),
    "quantity": _("A quantity is a whole number from 0 to 1000. Nothing was changed."),
}


def page(view: View) -> View:
    """Make a view a page of the signed-in customer's, with an error page for every failure."""
    return public_page(login_required(view))


def public_page(view: View) -> View:
    """Make a view a page for everybody, with an error page for every failure."""

    @functools.wraps(view)
    def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            response = view(request, *args, **kwargs)
        except OrderNotFound:
            return error_page(request, 404)
        except RateLimited as error:
            return error_page(request, 429, retry_after=error.retry_after)
        return _for_script(request, response)

    return wrapped


def customer_of(request: HttpRequest) -> User:
    """Return the customer who is signed in."""
    assert request.user.is_authenticated, "`page` requires sign-in"
    return request.user


class SeeOther(HttpResponseRedirect):
    """The response to a form: a redirect to the page with the result (RFC 9110, 303)."""

    status_code = 303


def redirect_with(final_response: HttpResponse, view: str, order_id: UUID) -> HttpResponse:
    """Return a redirect to the page that shows the result of a form.

    :param final_response: the API's response to the request that the form stands for
    """
    return _with_final_response(SeeOther(reverse(view, args=[order_id])), final_response)


def redirect_back(view: str, *args: object, note: str = "") -> HttpResponse:
    """Return a redirect to a page; `note` names the message to show there."""
    url = reverse(view, args=args)
    return SeeOther(f"{url}?note={note}" if note else url)


def note_of(request: HttpRequest) -> dict[str, Any]:
    """Return the message named by the `note` of the address, as template context."""
    return {"note": NOTES.get(request.GET.get("note", ""))}


def _for_script(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """Return a redirect as JSON to the page's script, which would load the page twice otherwise."""
    if response.status_code != SeeOther.status_code or not request.headers.get("X-Requested-With"):
        return response
    location = JsonResponse({"location": response["Location"]})
    return _with_final_response(location, getattr(response, "final_response", response))


def _with_final_response(page: HttpResponse, final_response: HttpResponse) -> HttpResponse:
    """Attach the API's response to the page that stands for it; the metrics count it."""
    page.final_response = final_response  # type: ignore[attr-defined]
    if "Idempotent-Replayed" in final_response:
        page["Idempotent-Replayed"] = "true"
    return page
