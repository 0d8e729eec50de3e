"""The pages of a customer's orders: the list, and one order with its status and timeline."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from idempotency import is_in_flight, scope_of
from orders import clock, responses, services
from orders.models import Order
from orders.requests import OrderRequest, RequestsOf
from payments import client
from shop.drawing import draw
from shop.forms import whole_number
from shop.pages import customer_of, page
from shop.timeline import timeline_of
from web.read_only_admin import whole_uuid

ORDERS_PER_PAGE = 20
AXIS_MS_MAX = 60_000
LAB_CLICKS_MAX = 25
FOLLOWED = timedelta(seconds=5)  # after the last request


@page
@require_safe
def orders(request: HttpRequest) -> HttpResponse:
    """List the customer's orders, newest first, a page at a time."""
    rows = Order.objects.filter(customer=customer_of(request)).order_by("-id")
    if before := whole_uuid(request.GET.get("before", "")):
        rows = rows.filter(pk__lt=before)
    listed = list(rows.prefetch_related("lines")[: ORDERS_PER_PAGE + 1])
    shown = listed[:ORDERS_PER_PAGE]
    more = shown[-1].pk if len(listed) > ORDERS_PER_PAGE else None
    held_up = services.held_up_among([each.pk for each in shown])
    context = {"orders": shown, "more": more, "held_up": held_up}
    return render(request, "shop/orders.html", context)


@page
@require_safe
def order(request: HttpRequest, order_id: UUID) -> HttpResponse:
    """Show an order: its result, or that its payment is pending, and its timeline."""
    return render(request, "shop/order.html", _order_context(request, order_id))


@page
@require_safe
def now(request: HttpRequest, order_id: UUID) -> HttpResponse:
    """Return the part of an order's page that changes while its payment is pending."""
    return render(request, "shop/now.html", _order_context(request, order_id))


def _order_context(request: HttpRequest, order_id: UUID) -> dict[str, Any]:
    # Read before the order: if a click commits in between, the order shows it.
    in_flight = is_in_flight(scope=scope_of(request), subject=responses.subject(order_id))
    order = services.find_order(customer=request.user, order_id=order_id)
    is_paying = order.status == Order.Status.PAYING
    is_held_up = is_paying and bool(services.held_up_among([order_id]))
    is_paying = (is_paying and not is_held_up) or (
        in_flight and order.status == Order.Status.SUBMITTED
    )
    about = RequestsOf(order)
    to_pay = about.to_pay
    ms_min = whole_number(request.GET.get("ms", ""), maximum=AXIS_MS_MAX) or 1
    return {
        "order": order,
        "is_held_up": is_held_up,
        "is_given_up": order.status == Order.Status.FAILED and _is_given_up(order),
        "is_paying": is_paying,
        # The journal is a second behind, and the customer may still be clicking.
        "is_followed": is_paying or _is_recent(to_pay.shown),
        "lines": order.lines.order_by("id"),
        "clicks": to_pay,
        "drawing": draw(to_pay.shown, total=to_pay.total, ms_min=ms_min),
        "debit": client.debit_of(order_id),
        "contrast": _contrast(order, to_pay.total),
        "timeline": timeline_of(order, about=about),
    }


def _is_given_up(order: Order) -> bool:
    payment = services.payments_of([order.pk]).get(order.pk)
    return payment is not None and payment.is_given_up


def _contrast(order: Order, sent: int) -> dict[str, Any] | None:
    """Return what the same clicks would come to without any mechanism, for the lab to show."""
    if not settings.LAB_ENABLED or order.status != Order.Status.PAID:
        return None
    clicks = min(max(sent, 2), LAB_CLICKS_MAX)
    return {"clicks": clicks, "lost": (clicks - 1) * order.amount, "run": uuid4()}


def _is_recent(requests: Sequence[OrderRequest]) -> bool:
    return bool(requests) and clock.now() - requests[-1].ends < FOLLOWED
