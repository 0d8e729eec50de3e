"""How OpenAPI describes the operations on products and orders, with examples."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiResponse

from orders.serializers import (
    OrderResponse,
    PayOrderRequest,
    PlaceOrderRequest,
    ProductResponse,
)
from web.openapi import Particulars, ProblemResponse, described

ORDER: dict[str, Any] = {
    "id": "01956c4e-8f1b-7c3a-9f0e-2d6b5a4c3e21",
    "status": 2,
    "status_label": "paid",
    "amount": 500,
    "currency": "EUR",
    "lines": [{"sku": "TEA", "name": "Green tea", "quantity": 2, "unit_price": 250, "amount": 500}],
    "payment": {
        "id": "01956c4e-9a00-7d52-8e11-7f3c2b1a0d95",
        "account_id": 1,
        "amount": 500,
        "currency": "EUR",
        "outcome": "succeeded",
        "created_at": "2026-01-02T03:04:05Z",
    },
    "created_at": "2026-01-02T03:04:00Z",
    "updated_at": "2026-01-02T03:04:05Z",
}
SUBMITTED = ORDER | {
    "status": 0,
    "status_label": "submitted",
    "payment": None,
    "updated_at": ORDER["created_at"],
}
PAYING = ORDER | {"status": 1, "status_label": "paying", "payment": None}
FAILED = ORDER | {
    "status": 3,
    "status_label": "failed",
    "payment": ORDER["payment"] | {"outcome": "declined"},
}
_OF_THE_ORDER = {"order_id": "$response.body#/id"}
_OF_THE_FIRST_ORDER = {"order_id": "$response.body#/results/0/id"}
_OF_THE_ORDER_SHOWN = {"order_id": "$response.body#/order/id"}
_OF_THE_KEY = {"key": "$request.header.Idempotency-Key"}


class OrderProblemResponse(ProblemResponse):
    """Problem details (RFC 9457); what concerns an order also carries the order."""

    order = OrderResponse(required=False)


def _order(description: str, **example: Any) -> OpenApiResponse:
    examples = [OpenApiExample(name, value) for name, value in example.items()]
    return OpenApiResponse(OrderResponse, description=description, examples=examples)


list_products = described(
    Particulars(),
    operation_id="list_products",
    summary="List the products",
    tags=["products"],
    responses={
        200: OpenApiResponse(
            ProductResponse(many=True),
            description="A page of the catalogue",
            examples=[
                OpenApiExample(
                    "tea", {"sku": "TEA", "name": "Green tea", "price": 250, "currency": "EUR"}
                )
            ],
        )
    },
)
list_orders = described(
    Particulars(links={200: {"get_order": _OF_THE_FIRST_ORDER, "pay_order": _OF_THE_FIRST_ORDER}}),
    operation_id="list_orders",
    summary="List the caller's orders, newest first",
    tags=["orders"],
    responses={
        200: OpenApiResponse(
            OrderResponse(many=True),
            description="A page of orders",
            examples=[OpenApiExample("orders", ORDER)],
        )
    },
)
place_order = described(
    Particulars(
        headers={201: ("Location",)},
        links={
            201: {
                "get_order": _OF_THE_ORDER,
                "pay_order": _OF_THE_ORDER,
                "inquire_key": _OF_THE_KEY,
            }
        },
    ),
    operation_id="place_order",
    summary="Place an order",
    tags=["orders"],
    request=PlaceOrderRequest,
    examples=[
        OpenApiExample("place", {"lines": [{"sku": "TEA", "quantity": 2}]}, request_only=True)
    ],
    responses={201: _order("The order, submitted", placed=SUBMITTED)},
)
get_order = described(
    Particulars(links={200: {"pay_order": _OF_THE_ORDER}}),
    operation_id="get_order",
    summary="Get an order",
    tags=["orders"],
    responses={200: _order("The order", paid=ORDER, submitted=SUBMITTED)},
)
pay_order = described(
    Particulars(
        problems={
            "payment-declined": {"order": FAILED},
            "order-already-paid": {"order": ORDER},
            "order-failed": {"order": FAILED},
            "payment-mismatch": {},
        },
        problem=OrderProblemResponse,
        headers={202: ("Location", "Retry-After")},
        links={
            200: {"get_order": _OF_THE_ORDER, "get_payment": _OF_THE_ORDER},
            202: {"get_order": _OF_THE_ORDER, "inquire_key": _OF_THE_KEY},
            402: {"get_order": _OF_THE_ORDER_SHOWN},
        },
    ),
    operation_id="pay_order",
    summary="Pay an order",
    tags=["orders"],
    request=PayOrderRequest,
    examples=[OpenApiExample("pay", {"account": 1}, request_only=True)],
    responses={
        200: _order("The order, paid", paid=ORDER),
        202: _order("The order, still paying", paying=PAYING),
    },
)
