"""The catalogue and the basket: filling it, and placing it as an order.

The form carries the basket's id as its key, so a customer may send it any number of times. It is
another door to the API's request, with the same key, fingerprint and stored response.
"""

import json
from collections import Counter
from collections.abc import Mapping
from uuid import UUID, uuid4

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from rest_framework.exceptions import ValidationError

from idempotency import rate_limit, scope_of
from idempotency.errors import KeyInUse, RateLimited, Refusal
from orders import once, services
from orders.errors import MixedCurrencies, ProductNotFound
from orders.models import Order
from orders.serializers import MAX_LINES, MAX_QUANTITY
from shop import baskets, forms
from shop.models import Basket
from shop.pages import note_of, page, public_page, redirect_back, redirect_with
from web.database.replica import from_replica
from web.pages import error_page

NOT_PLACED = (
    Refusal,
    baskets.BasketChanged,
    ProductNotFound,
    MixedCurrencies,
    ValidationError,
)


@public_page
def catalogue(request: HttpRequest) -> HttpResponse:
    """Show the products, with the quantities in the customer's basket."""
    signed_in = request.user.is_authenticated
    basket = baskets.open_basket(customer=request.user) if signed_in else None
    context = {
        "products": from_replica(lambda: baskets.catalogue_offers(basket)),
        "quantity_max": MAX_QUANTITY,
        "is_demo": settings.DEMO_SIGN_IN,
        "key": uuid4(),  # of the order that the demo's button places
    }
    return render(request, "shop/catalogue.html", context)


@page
def basket(request: HttpRequest) -> HttpResponse:
    """Show the basket; on POST set quantities in it. A duplicate sets the same quantities."""
    if request.method == "POST":
        return _fill(request, forms.quantities(request))
    context = {"quantity_max": MAX_QUANTITY, "lines_max": MAX_LINES, **note_of(request)}
    if current := baskets.open_basket(customer=request.user):
        contents = baskets.contents_of(current)
        context |= {"basket": current, "contents": contents, "seen": baskets.digest(current)}
    return render(request, "shop/basket.html", context)


@page
def place(request: HttpRequest, basket_id: UUID) -> HttpResponse:
    """Place a basket as an order; any number of duplicates, from any tab, are one order."""
    if request.method != "POST":  # as after signing in on the way here
        return redirect("shop:basket")
    basket = baskets.find(customer=request.user, basket_id=basket_id)
    if basket is None:
        return error_page(request, 404)
    edited = forms.quantities(request)
    if baskets.is_edited(basket, edited, seen=request.POST.get("seen")):
        return _fill(request, edited, note="edited")
    try:
        response = _place(request, basket)
    except KeyInUse as error:  # the first click is still in flight
        return error_page(request, 503, retry_after=error.retry_after)
    except RateLimited:
        raise
    except NOT_PLACED as error:
        return _not_placed(error, basket)
    order_id = UUID(json.loads(response.content)["id"])
    if basket.order_id is None and "Idempotent-Replayed" in response:
        baskets.link_order(basket, order_id)
    return redirect_with(response, "shop:checkout", order_id)


@page
def reorder(request: HttpRequest, order_id: UUID) -> HttpResponse:
    """Put the lines of an order into the basket; a duplicate changes nothing."""
    if request.method != "POST":
        return redirect("shop:order", order_id)
    order = services.find_order(customer=request.user, order_id=order_id)
    quantities: Counter[str] = Counter()
    for sku, quantity in order.lines.values_list("sku", "quantity"):
        quantities[sku] = min(quantities[sku] + quantity, MAX_QUANTITY)
    return _fill(request, quantities)


def _fill(
    request: HttpRequest, quantities: Mapping[str, int] | None, *, note: str = ""
) -> HttpResponse:
    """Set quantities in the basket and show it; `note` names the message to show there.

    :raises RateLimited: the customer has edited the basket too often of late
    """
    if quantities is None:
        return redirect_back("shop:basket", note="quantity")
    limit, seconds = settings.WRITE_RATE
    rate_limit.count(f"basket:{scope_of(request)}", limit=limit, seconds=seconds)
    try:
        baskets.fill(customer=request.user, quantities=quantities)
    except baskets.BasketFull:
        return redirect_back("shop:basket", note="full")
    is_of_catalogue = "seen" not in request.POST
    if is_of_catalogue and not any(quantities.values()):
        note = "nothing"
    return redirect_back("shop:basket", note=note)


def _place(request: HttpRequest, basket: Basket) -> HttpResponse:
    def place_basket() -> Order:
        if request.POST.get("seen") != baskets.digest(basket):
            raise baskets.BasketChanged
        return baskets.make_order(basket)

    return once.place_once(
        request,
        place_basket,
        key=str(basket.pk),
        path=reverse("orders"),
        body=baskets.request_body(basket),
    )


def _not_placed(error: Exception, basket: Basket) -> HttpResponse:
    """Return a redirect to the order that the basket has become, or back to the basket."""
    if (order_id := baskets.order_of(basket)) is not None:
        return redirect_back("shop:checkout", order_id)
    changed = isinstance(error, baskets.BasketChanged)
    if isinstance(error, Refusal):  # an API request has used its key for something else
        baskets.renew_key(basket)
        changed = True
    return redirect_back("shop:basket", note="changed" if changed else "unorderable")
