"""The HTTP responses of placing and paying, as pure functions: no query, no effect."""

import threading
from typing import Any

from django.urls import reverse
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response

from orders.models import Order
from orders.serializers import OrderResponse
from orders.services import Attempt
from payments.client import Payment
from web import problems

RETRY_AFTER_SECONDS = 1


class _Mine(threading.local):
    """A thread's own serializer, reused: building its fields takes longer than using them."""

    def __init__(self) -> None:
        self.context: dict[str, Any] = {"payments": {}}
        self.serializer = OrderResponse(context=self.context)


_mine = _Mine()


def subject(order_id: object) -> str:
    """Return what idempotency records call an order."""
    return f"order:{order_id}"


def location(order: Order) -> str:
    return reverse("order", args=[order.pk])


def body(order: Order, payment: Payment | None) -> Any:
    """Return an order, whose lines are loaded, as responses show it."""
    _mine.context["payments"] = {order.pk: payment} if payment else {}
    return _mine.serializer.to_representation(order)


def place_response(order: Order) -> Response:
    """Return 201 for an order that was placed just now."""
    return Response(body(order, None), 201, headers={"Location": location(order)})


def placed_subject(response: Any) -> str:
    """Return the subject of a request that placed an order, by its response."""
    return subject(response.data["id"])


def pay_response(attempt: Attempt) -> Response:
    """Return the response to an attempt to pay: final, and stored under the request's key.

    Only 202, while the order is paying, is provisional.
    """
    order, shown = attempt.order, body(attempt.order, attempt.payment)
    match order.status, attempt.first:
        case Order.Status.PAYING, _:
            headers = {"Location": location(order), "Retry-After": str(RETRY_AFTER_SECONDS)}
            return Response(shown, 202, headers=headers)
        case Order.Status.PAID, True:
            return Response(shown, 200)
        case Order.Status.PAID, False:
            slug = "order-already-paid"
        case Order.Status.FAILED, True:
            slug = "payment-declined"
        case _:
            slug = "order-failed"
    return problems.response(slug, order=shown)


def rendered(response: Response) -> Response:
    """Render a response as JSON outside of any view, where a form or a relay stores it."""
    response.accepted_renderer = JSONRenderer()
    response.accepted_media_type = response.accepted_renderer.media_type
    response.renderer_context = {}  # type: ignore[attr-defined]  # the stubs forget it
    response.render()
    return response
