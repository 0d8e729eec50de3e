"""The shop's pages. A form carries its key from before the click, and may be sent again and again.

A form is another door to the API's request: the same key, fingerprint and stored answer, which the
page translates. So whatever a customer does with a page, it ends on what the first click came to.
"""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_safe
from rest_framework.exceptions import ValidationError

from idempotency import claim, tokens
from idempotency.errors import KeyInUse, KeyInvalid, Refusal
from orders import once, responses, services
from orders.errors import MixedCurrencies, ProductNotFound
from orders.models import Order
from orders.serializers import MAX_LINES, MAX_QUANTITY
from payments import client
from shop import baskets, clicks, forms
from shop.models import Basket, Click
from shop.pages import back_to, leading_to, note_of, page, page_for_all
from shop.timeline import timeline_of
from web import problems
from web.pages import error_page
from web.read_only_admin import whole_uuid

ORDERS_A_PAGE = 20

NOT_PLACED = (
    Refusal,
    baskets.BasketChanged,
    ProductNotFound,
    MixedCurrencies,
    ValidationError,
)


@page_for_all
def catalogue(request: HttpRequest) -> HttpResponse:
    """Show what can be bought, with the quantities that are in the customer's basket."""
    signed_in = request.user.is_authenticated
    found = baskets.open_basket(customer=request.user) if signed_in else None
    context = {"products": baskets.on_offer(found), "most": MAX_QUANTITY}
    return render(request, "shop/catalogue.html", context)


@page
def basket(request: HttpRequest) -> HttpResponse:
    """Show the basket; on POST set quantities in it. A form sent twice says the same thing."""
    if request.method == "POST":
        return _fill(request, forms.quantities(request))
    context = {"most": MAX_QUANTITY, "most_lines": MAX_LINES, **note_of(request)}
    if found := baskets.open_basket(customer=request.user):
        contents = baskets.contents(found)
        context |= {"basket": found, "contents": contents, "seen": baskets.digest(found)}
    return render(request, "shop/basket.html", context)


def _fill(
    request: HttpRequest, quantities: Mapping[str, int] | None, *, note: str = ""
) -> HttpResponse:
    """Set quantities in the basket and show it; `note` is what to say there."""
    if quantities is None:
        return back_to("shop:basket", note="quantity")
    try:
        baskets.fill(customer=request.user, quantities=quantities)
    except baskets.BasketFull:
        return back_to("shop:basket", note="full")
    return back_to("shop:basket", note=note)


@page
def place(request: HttpRequest, basket_id: UUID) -> HttpResponse:
    """Make an order of a basket; however often and from whichever tab it is sent, one order."""
    if request.method != "POST":  # as after signing in on the way here
        return redirect("shop:basket")
    found = baskets.find(customer=request.user, basket_id=basket_id)
    if found is None:
        return error_page(request, 404)
    edited = forms.quantities(request)
    if baskets.was_edited(found, edited, seen=request.POST.get("seen")):
        return _fill(request, edited, note="edited")
    with clicks.kept(request, "order", key=str(basket_id)) as click:
        try:
            done = _place(request, found)
        except KeyInUse as error:  # the first click is still at it
            click.refused(error.default_code)
            return error_page(request, 503, retry_after=error.retry_after)
        except NOT_PLACED as error:
            return _not_placed(click, error, found)
        click.order_id = UUID(json.loads(done.content)["id"])
        click.answered(done)
        if found.order_id is None and click.told == Click.Told.REPLAYED:
            baskets.became(found, click.order_id)
    return leading_to("shop:checkout", click.order_id, done)


def _place(request: HttpRequest, found: Basket) -> HttpResponse:
    def place_basket() -> Order:
        if request.POST.get("seen") != baskets.digest(found):
            raise baskets.BasketChanged
        return baskets.make_order(found)

    return once.place_once(
        request,
        place_basket,
        key=str(found.pk),
        path=reverse("orders"),
        body=baskets.asked(found),
    )


def _not_placed(click: clicks.Heard, error: Exception, found: Basket) -> HttpResponse:
    """Lead to the order that the basket became after all, or back to the basket."""
    changed = isinstance(error, baskets.BasketChanged)
    click.refused("basket-changed" if changed else "unorderable")
    click.order_id = baskets.order_of(found)
    if click.order_id is not None:
        return back_to("shop:checkout", click.order_id)
    if isinstance(error, Refusal):  # its key was used for something else, past this page
        click.refused(str(error.default_code))
        baskets.renew_key(found)
        changed = True
    return back_to("shop:basket", note="changed" if changed else "unorderable")


@page
@require_safe
def checkout(request: HttpRequest, order_id: UUID) -> HttpResponse:
    """Ask for the payment; the page carries a token that is good for one payment.

    An order that isn't open any more has a result, and that is shown instead.
    """
    order = services.find_order(customer=request.user, order_id=order_id)
    if order.status != Order.Status.SUBMITTED:
        return redirect("shop:order", order_id)
    token, _expires_at = tokens.issue(_customer(request).pk)
    accounts = client.accounts_of(owner=request.user, currency=order.currency)
    lines = order.lines.order_by("id")
    context = {"order": order, "lines": lines, "token": token, "accounts": accounts}
    context["is_demo"] = settings.DEMO_SIGN_IN
    return render(request, "shop/checkout.html", context | note_of(request))


@page
def pay(request: HttpRequest, order_id: UUID) -> HttpResponse:
    """Pay an order. However often it is sent, under however many keys: one charge.

    It ends on the order's page, which shows what the first click came to.
    """
    order = services.find_order(customer=request.user, order_id=order_id)
    if request.method != "POST":  # as after signing in on the way here
        return redirect("shop:checkout", order_id)
    key = request.POST.get("key", "")
    with clicks.kept(request, "pay", key=key, order_id=order_id) as click:
        try:
            done = _pay(request, order, key)
        except KeyInvalid:  # an old token, most likely
            click.refused(KeyInvalid.default_code)
            return back_to("shop:checkout", order_id, note="renewed")
        except Refusal as refusal:  # the key was used; or the first click takes its time
            click.refused(slug := str(refusal.default_code))
            said = problems.response(slug)
            return leading_to("shop:order", order_id, said)
        except (client.AccountNotFound, client.CurrencyMismatch):
            click.refused("account")
            return back_to("shop:checkout", order_id, note="account")
        except client.PaymentMismatch:
            click.refused("payment-mismatch")
            return back_to("shop:checkout", order_id, note="terms")
        slug = json.loads(done.content).get("type", "").removeprefix("/problems/")
        click.answered(done, refusal=slug if done.status_code == 409 else "")
    return leading_to("shop:order", order_id, done)


def _pay(request: HttpRequest, order: Order, key: str) -> HttpResponse:
    account_id = forms.whole_number(request.POST.get("account", ""), most=2**63 - 1)
    if not account_id:
        raise client.AccountNotFound
    return once.pay_once(request, key=key, order_id=order.pk, account_id=account_id)


@page
@require_safe
def order(request: HttpRequest, order_id: UUID) -> HttpResponse:
    """Show an order: what became of it, or that it is being paid, and its story."""
    return render(request, "shop/order.html", _order_context(request, order_id))


@page
@require_safe
def now(request: HttpRequest, order_id: UUID) -> HttpResponse:
    """Answer the part of an order's page that changes while it is being paid."""
    return render(request, "shop/now.html", _order_context(request, order_id))


@page
def again(request: HttpRequest, order_id: UUID) -> HttpResponse:
    """Put what was ordered into the basket once more; a repeat changes nothing."""
    if request.method != "POST":
        return redirect("shop:order", order_id)
    order = services.find_order(customer=request.user, order_id=order_id)
    quantities: Counter[str] = Counter()
    for sku, quantity in order.lines.values_list("sku", "quantity"):
        quantities[sku] = min(quantities[sku] + quantity, MAX_QUANTITY)
    return _fill(request, quantities)


@page
@require_safe
def orders(request: HttpRequest) -> HttpResponse:
    """List the customer's orders, newest first, a page at a time."""
    found = Order.objects.filter(customer=_customer(request)).order_by("-id")
    if before := whole_uuid(request.GET.get("before", "")):
        found = found.filter(pk__lt=before)
    listed = list(found.prefetch_related("lines")[: ORDERS_A_PAGE + 1])
    shown = listed[:ORDERS_A_PAGE]
    more = shown[-1].pk if len(listed) > ORDERS_A_PAGE else None
    held_up = services.held_up_among([each.pk for each in shown])
    context = {"orders": shown, "more": more, "held_up": held_up}
    return render(request, "shop/orders.html", context)


def _order_context(request: HttpRequest, order_id: UUID) -> dict[str, Any]:
    # Asked before the order is read: a click that ends in between is then in the order.
    in_flight = claim.is_in_flight(
        caller=_customer(request).pk, subject=responses.subject(order_id)
    )
    order = services.find_order(customer=request.user, order_id=order_id)
    is_paying = order.status == Order.Status.PAYING
    is_held_up = is_paying and bool(services.held_up_among([order_id]))
    return {
        "order": order,
        "is_held_up": is_held_up,
        "is_paying": (is_paying and not is_held_up)
        or (in_flight and order.status == Order.Status.SUBMITTED),
        "lines": order.lines.order_by("id"),
        "timeline": timeline_of(order),
        "is_story_open": settings.CLICKS_ARE_KEPT,
    }


def _customer(request: HttpRequest) -> User:
    assert request.user.is_authenticated, "`page` has asked them to sign in"
    return request.user
