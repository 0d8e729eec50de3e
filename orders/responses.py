"""The HTTP responses of placing and paying, as pure functions: no query, no effect."""

from typing import Any

from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response

from orders.models import Order
from orders.services import Attempt
from payments.client import Payment
from web import problems
from web.rows import moment

RETRY_AFTER_SECONDS = 1
GIVEN_UP = _("The payment was given up; nothing was charged, and nothing will be.")
_LABELS = {status.value: status.name.lower() for status in Order.Status}


def subject(order_id: object) -> str:
    """Return what idempotency records call an order."""
    return f"order:{order_id}"


def location(order: Order) -> str:
    return reverse("order", args=[order.pk])


def body(order: Order, payment: Payment | None) -> dict[str, Any]:
    """Return an order as responses show it (`OrderResponse`)."""
    return {
        "id": str(order.pk),
        "status": order.status,
        "status_label": _LABELS[order.status],
        "amount": order.amount,
        "currency": order.currency,
        "lines": [
            {
                "sku": line.sku,
                "name": line.name,
                "quantity": line.quantity,
                "unit_price": line.unit_price,
                "amount": line.amount,
            }
            for line in order.loaded_lines
        ],
        "payment": payment and _payment(payment),
        "created_at": moment(order.created_at),
        "updated_at": moment(order.updated_at),
    }


def _payment(payment: Payment) -> dict[str, Any]:
    return {
        "id": str(payment.id),
        "account_id": payment.account_id,
        "amount": payment.amount,
        "currency": payment.currency,
        "outcome": payment.outcome,
        "created_at": moment(payment.created_at),
    }


def place_response(order: Order) -> Response:
    """Return 201 for an order that was placed just now."""
    return Response(body(order, None), 201, headers={"Location": location(order)})


def placed_subject(response: Any) -> str:
    """Return the subject of a request that placed an order, by its response."""
    return subject(response.data["id"])


def pay_response(attempt: Attempt) -> Response:
    """Return the response to an attempt to pay: final, and stored under the request's key.

    Only 202, while the order is paying, is provisional. One that decided nothing says so: the
    journal counts it as a duplicate, under another key.
    """
    response = _pay_response(attempt)
    response.idempotency_superseded = not attempt.first  # type: ignore[attr-defined]
    return response


def _pay_response(attempt: Attempt) -> Response:
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
    given_up = attempt.payment is not None and attempt.payment.is_given_up
    members: dict[str, Any] = {"detail": GIVEN_UP} if given_up else {}
    return problems.response(slug, order=shown, **members)


def rendered(response: Response) -> Response:
    """Render a response as JSON outside of any view, where a form or a relay stores it."""
    response.accepted_renderer = JSONRenderer()
    response.accepted_media_type = response.accepted_renderer.media_type
    response.renderer_context = {}  # type: ignore[attr-defined]  # the stubs forget it
    response.render()
    return response
