"""The pages of a customer's orders: the list, and one order with its status and timeline."""

from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from idempotency import is_in_flight, scope_of
from orders import responses, services
from orders.models import Order
from shop.pages import customer_of, page
from shop.timeline import timeline_of
from web.read_only_admin import whole_uuid

ORDERS_PER_PAGE = 20


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
    return {
        "order": order,
        "is_held_up": is_held_up,
        "is_paying": (is_paying and not is_held_up)
        or (in_flight and order.status == Order.Status.SUBMITTED),
        "lines": order.lines.order_by("id"),
        "timeline": timeline_of(order),
        "is_timeline_open": settings.RECORD_CLICKS,
    }
