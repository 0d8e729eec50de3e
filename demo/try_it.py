"""The landing page's button: sign in as a customer of the demo's, and open a checkout."""

import json
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth import login
from django.contrib.auth.models import User
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from demo.seed import CUSTOMERS, PRODUCTS
from idempotency.errors import KeyInUse, RateLimited, Refusal
from orders import once
from orders.errors import ProductNotFound
from orders.models import Order
from orders.services import Line, place_order
from shop.pages import public_page, redirect_with
from web.pages import error_page


@public_page
def try_it(request: HttpRequest) -> HttpResponse:
    """Place an order of the first product as the first customer; a duplicate finds that order."""
    if not settings.DEMO_SIGN_IN:
        raise Http404
    if request.method != "POST":
        return redirect("shop:catalogue")
    customer = User.objects.filter(username=CUSTOMERS[0].username).first()
    if customer is None:  # not seeded
        return redirect("shop:catalogue")
    if request.user != customer:
        login(request, customer)
    try:
        response = _place(request, customer)
    except KeyInUse as error:  # the first click is still in flight
        return error_page(request, 503, retry_after=error.retry_after)
    except RateLimited:
        raise
    except (Refusal, ProductNotFound):
        return redirect("shop:catalogue")
    return redirect_with(response, "shop:checkout", UUID(json.loads(response.content)["id"]))


def _place(request: HttpRequest, customer: User) -> HttpResponse:
    sku = PRODUCTS[0][0]
    body: dict[str, Any] = {"lines": [{"sku": sku, "quantity": 1}]}

    def place() -> Order:
        return place_order(customer=customer, lines=[Line(sku, 1)])

    key = request.POST.get("key", "")
    return once.place_once(request, place, key=key, path=reverse("orders"), body=body)
