"""The shop's pages. A form carries its key from before the click, and may be sent again and again.

A form is another door to the API's request: the same key, fingerprint and stored answer, which the
page translates. So whatever a customer does with a page, it ends on what the first click came to.
"""

import functools
import json
from collections import Counter
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.cache import patch_cache_control
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe
from rest_framework.exceptions import ValidationError
from rest_framework.response import Response

from idempotency import problem, records, tokens
from idempotency.boundary import answer_once, rendered
from idempotency.errors import KeyInUse, KeyInvalid, RateLimited, Refusal
from orders import services
from orders.errors import MixedCurrencies, OrderNotFound, ProductNotFound
from orders.models import Order
from orders.serializers import MAX_LINES, MAX_QUANTITY
from orders.views import answer, location, pay_answer
from payments import client
from shop import baskets, clicks
from shop.models import Basket, Click
from shop.story import story

WAIT_SECONDS = 5  # of a repeat, for the click that came first
ORDERS_A_PAGE = 20

View = Callable[..., HttpResponse]

NOT_PLACED = (
    Refusal,
    baskets.BasketChanged,
    ProductNotFound,
    MixedCurrencies,
    ValidationError,
)

# Why a page is shown again, by what its address says.
NOTES = {
    "renewed": _("This page had been open for too long. Nothing was charged; here is a new one."),
    "account": _("Choose one of your accounts. Nothing was charged."),
    "terms": _("This order's payment was made on other terms. Nothing was charged."),
    "changed": _("The basket was changed in another tab. Nothing was ordered; please look again."),
    "unorderable": _("Something in the basket can't be ordered any more. Nothing was ordered."),
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
            return trouble(request, 404)
        except RateLimited as error:
            return trouble(request, 429, retry_after=error.retry_after)
        patch_cache_control(response, private=True)
        return _for_script(request, response)

    return shown


def _for_script(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """Tell the page's script where to go, instead of having it load that page, and again."""
    if response.status_code != SeeOther.status_code or not request.headers.get("X-Asked-By"):
        return response
    told = JsonResponse({"location": response["Location"]})
    told.decision = getattr(response, "decision", response)  # type: ignore[attr-defined]
    if "Idempotent-Replayed" in response:
        told["Idempotent-Replayed"] = "true"
    return told


def trouble(request: HttpRequest, status: int, *, retry_after: int | None = None) -> HttpResponse:
    """Answer with a page that says what went wrong, and that repeating is harmless."""
    context = {"status": status, "seconds": retry_after}
    response = render(request, "trouble.html", context, status=status)
    if retry_after is not None:
        response["Retry-After"] = str(retry_after)
    return response


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
        quantities = _quantities(request)
        if quantities is None:
            return _back_to("shop:basket", note="quantity")
        try:
            baskets.fill(customer=request.user, quantities=quantities)
        except baskets.BasketFull:
            return _back_to("shop:basket", note="full")
        return redirect("shop:basket")
    context = {"most": MAX_QUANTITY, "most_lines": MAX_LINES, **_note(request)}
    if found := baskets.open_basket(customer=request.user):
        contents = baskets.contents(found)
        context |= {"basket": found, "contents": contents, "seen": baskets.seen(found)}
    return render(request, "shop/basket.html", context)


@page
def place(request: HttpRequest, basket_id: UUID) -> HttpResponse:
    """Make an order of a basket; however often and from whichever tab it is sent, one order."""
    if request.method != "POST":  # as after signing in on the way here
        return redirect("shop:basket")
    found = baskets.find(customer=request.user, basket_id=basket_id)
    if found is None:
        return trouble(request, 404)
    with clicks.kept(request, "order", key=str(basket_id)) as click:
        try:
            done = _place(request, found)
        except KeyInUse as error:  # the first click is still at it
            click.refused(error.default_code)
            return trouble(request, 503, retry_after=error.retry_after)
        except NOT_PLACED as error:
            return _not_placed(click, error, found)
        click.order_id = UUID(json.loads(done.content)["id"])
        click.answered(done)
        if found.order_id is None and click.told == Click.Told.REPLAYED:
            baskets.became(found, click.order_id)
    return _leading_to("shop:checkout", click.order_id, done)


def _place(request: HttpRequest, found: Basket) -> HttpResponse:
    claim = records.Claim.of_form(
        request, str(found.pk), path=reverse("orders"), body=baskets.asked(found)
    )

    def execute() -> HttpResponse:
        if request.POST.get("seen") != baskets.seen(found):
            raise baskets.BasketChanged
        order = baskets.make_order(found)
        headers = {"Location": location(order)}
        return rendered(Response(answer(order), 201, headers=headers))

    return answer_once(claim, execute, wait=WAIT_SECONDS)


def _not_placed(click: clicks.Heard, error: Exception, found: Basket) -> HttpResponse:
    """Lead to the order that the basket became after all, or back to the basket."""
    changed = isinstance(error, baskets.BasketChanged)
    click.refused("basket-changed" if changed else "unorderable")
    click.order_id = baskets.order_of(found)
    if click.order_id is not None:
        return SeeOther(reverse("shop:checkout", args=[click.order_id]))
    if isinstance(error, Refusal):  # its key was used for something else, past this page
        click.refused(str(error.default_code))
        baskets.renew_key(found)
        changed = True
    return _back_to("shop:basket", note="changed" if changed else "unorderable")


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
    return render(request, "shop/checkout.html", context | _note(request))


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
            return _back_to("shop:checkout", order_id, note="renewed")
        except Refusal as refusal:  # the key was used; or the first click takes its time
            click.refused(slug := str(refusal.default_code))
            said = problem.answer(slug, status=refusal.status_code, title="", detail="")
            return _leading_to("shop:order", order_id, said)
        except (client.AccountNotFound, client.CurrencyMismatch):
            click.refused("account")
            return _back_to("shop:checkout", order_id, note="account")
        except client.PaymentMismatch:
            click.refused("payment-mismatch")
            return _back_to("shop:checkout", order_id, note="terms")
        slug = json.loads(done.content).get("type", "").removeprefix("/problems/")
        click.answered(done, refusal=slug if done.status_code == 409 else "")
    return _leading_to("shop:order", order_id, done)


def _pay(request: HttpRequest, order: Order, key: str) -> HttpResponse:
    account_id = _whole_number(request.POST.get("account", ""), most=2**63 - 1)
    if not account_id:
        raise client.AccountNotFound
    claim = records.Claim.of_form(
        request,
        key,
        path=reverse("pay-order", args=[order.pk]),
        body={"account": account_id},
        subject=_subject(order.pk),
    )

    def execute() -> HttpResponse:
        attempt = services.pay_order(
            customer=request.user, order_id=order.pk, account_id=account_id
        )
        return rendered(pay_answer(attempt))

    return answer_once(claim, execute, wait=WAIT_SECONDS)


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
    try:
        baskets.fill(customer=request.user, quantities=quantities)
    except baskets.BasketFull:
        return _back_to("shop:basket", note="full")
    return redirect("shop:basket")


@page
@require_safe
def orders(request: HttpRequest) -> HttpResponse:
    """List the customer's orders, newest first, a page at a time."""
    found = Order.objects.filter(customer=_customer(request)).order_by("-id")
    if before := _uuid(request.GET.get("before", "")):
        found = found.filter(pk__lt=before)
    listed = list(found.prefetch_related("lines")[: ORDERS_A_PAGE + 1])
    shown = listed[:ORDERS_A_PAGE]
    more = shown[-1].pk if len(listed) > ORDERS_A_PAGE else None
    return render(request, "shop/orders.html", {"orders": shown, "more": more})


def _order_context(request: HttpRequest, order_id: UUID) -> dict[str, Any]:
    # Asked before the order is read: a click that ends in between is then in the order.
    in_flight = records.is_in_flight(caller=_customer(request).pk, subject=_subject(order_id))
    order = services.find_order(customer=request.user, order_id=order_id)
    is_paying = order.status == Order.Status.PAYING
    is_held_up = is_paying and services.is_held_up(order_id)
    return {
        "order": order,
        "is_held_up": is_held_up,
        "is_paying": (is_paying and not is_held_up)
        or (in_flight and order.status == Order.Status.SUBMITTED),
        "lines": order.lines.order_by("id"),
        "story": story(order),
        "is_story_open": settings.CLICKS_ARE_KEPT,
    }


class SeeOther(HttpResponseRedirect):
    """The answer to a form: look there for what it came to (RFC 9110, 303)."""

    status_code = 303


def _leading_to(view: str, order_id: UUID, done: HttpResponse) -> HttpResponse:
    """Translate an answer of the API into the page that shows what it says."""
    response = SeeOther(reverse(view, args=[order_id]))
    response.decision = done  # type: ignore[attr-defined]  # counted by the metrics
    if "Idempotent-Replayed" in done:
        response["Idempotent-Replayed"] = "true"
    return response


def _back_to(view: str, *args: object, note: str) -> HttpResponse:
    return SeeOther(f"{reverse(view, args=args)}?note={note}")


def _note(request: HttpRequest) -> dict[str, Any]:
    return {"note": NOTES.get(request.GET.get("note", ""))}


def _customer(request: HttpRequest) -> User:
    assert request.user.is_authenticated, "`page` has asked them to sign in"
    return request.user


def _subject(order_id: UUID) -> str:
    return records.subject_of("order_id", order_id)


def _quantities(request: HttpRequest) -> dict[str, int] | None:
    """Return the quantities that a form sets by sku; None where one isn't a number that fits."""
    prefix = "quantity-"
    given = {name: value for name, value in request.POST.items() if name.startswith(prefix)}
    read = {
        name.removeprefix(prefix): _whole_number(str(value) or "0", most=MAX_QUANTITY)
        for name, value in given.items()
    }
    if any(quantity is None or not _is_text(sku) for sku, quantity in read.items()):
        return None
    return {sku: quantity for sku, quantity in read.items() if quantity is not None}


def _whole_number(text: str, *, most: int) -> int | None:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        return None
    return int(text) if int(text) <= most else None


def _is_text(name: str) -> bool:
    """Say whether the database can keep what a browser sent as a name."""
    return "\0" not in name and name.isprintable()


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
