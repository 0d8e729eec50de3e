"""The checkout page and its pay form.

The form carries a single-use token as its key, so a customer may send it any number of times. It is
another door to the API's request, with the same key, fingerprint and stored response.
"""

from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from idempotency import scope_of, tokens
from idempotency.errors import KeyInvalid, RateLimited, Refusal
from orders import once, services
from orders.models import Order
from payments import client
from shop import forms
from shop.pages import note_of, page, redirect_back, redirect_with
from web import problems


@page
@require_safe
def checkout(request: HttpRequest, order_id: UUID) -> HttpResponse:
    """Show the pay form with a new token; an order that is not open any more shows its result."""
    order = services.find_order(customer=request.user, order_id=order_id)
    if order.status != Order.Status.SUBMITTED:
        return redirect("shop:order", order_id)
    token, _expires_at = tokens.issue(scope_of(request))
    accounts = client.accounts_of(owner=request.user, currency=order.currency)
    lines = order.lines.order_by("id")
    context = {"order": order, "lines": lines, "token": token, "accounts": accounts}
    context["is_demo"] = settings.DEMO_SIGN_IN
    return render(request, "shop/checkout.html", context | note_of(request))


@page
def pay(request: HttpRequest, order_id: UUID) -> HttpResponse:
    """Pay an order: any number of duplicates, under any number of keys, charge once.

    Each leads to the order's page, which shows the first result.
    """
    order = services.find_order(customer=request.user, order_id=order_id)
    if request.method != "POST":  # as after signing in on the way here
        return redirect("shop:checkout", order_id)
    try:
        response = _pay(request, order, request.POST.get("key", ""))
    except KeyInvalid:  # an expired token, most likely
        return redirect_back("shop:checkout", order_id, note="renewed")
    except RateLimited:
        raise
    except Refusal as refusal:  # the key was used, or the first click is still in flight
        return redirect_with(problems.response(refusal.slug), "shop:order", order_id)
    except (client.AccountNotFound, client.CurrencyMismatch):
        return redirect_back("shop:checkout", order_id, note="account")
    except client.PaymentMismatch:
        return redirect_back("shop:checkout", order_id, note="terms")
    return redirect_with(response, "shop:order", order_id)


def _pay(request: HttpRequest, order: Order, key: str) -> HttpResponse:
    account_id = forms.whole_number(request.POST.get("account", ""), maximum=2**63 - 1)
    if not account_id:
        raise client.AccountNotFound
    return once.pay_once(request, key=key, order_id=order.pk, account_id=account_id)
