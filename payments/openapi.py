"""How OpenAPI describes the operations of the payment system, with examples."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiResponse

from payments.serializers import AccountResponse, ChargeRequest, EntryResponse, PaymentResponse
from web.openapi import Particulars, described

ORDER_ID = "01956c4e-8f1b-7c3a-9f0e-2d6b5a4c3e21"
TERMS: dict[str, Any] = {
    "order_id": ORDER_ID,
    "account_id": 1,
    "amount": 500,
    "currency": "EUR",
}
PAYMENT = TERMS | {
    "id": "01956c4e-9a00-7d52-8e11-7f3c2b1a0d95",
    "outcome": "succeeded",
    "created_at": "2026-01-02T03:04:05Z",
}
DECLINED = PAYMENT | {"account_id": None, "outcome": "declined"}
ACCOUNT = {"id": 1, "currency": "EUR", "balance": 99_500, "created_at": "2026-01-01T00:00:00Z"}
ENTRY = {
    "id": 1,
    "order_id": ORDER_ID,
    "payment_id": PAYMENT["id"],
    "amount": -500,
    "currency": "EUR",
    "balance_after": 99_500,
    "created_at": "2026-01-02T03:04:05Z",
}
_OF_THE_FIRST = {"id": "$response.body#/results/0/id"}


def _one(serializer: Any, description: str, name: str, example: Any) -> OpenApiResponse:
    examples = [OpenApiExample(name, example)]
    return OpenApiResponse(serializer, description=description, examples=examples)


charge = described(
    Particulars(
        problems={"not-found": {}, "payment-mismatch": {}, "rate-limited": {}},
        headers={200: ("Idempotent-Replayed",), 201: ("Location",)},
        links={201: {"get_payment": {"order_id": "$response.body#/order_id"}}},
    ),
    operation_id="charge",
    summary="Charge an account for an order",
    tags=["payments"],
    request=ChargeRequest,
    examples=[OpenApiExample("charge", TERMS, request_only=True)],
    responses={
        201: _one(PaymentResponse, "The payment, made now", "first", PAYMENT),
        200: _one(PaymentResponse, "The payment, made before", "replayed", PAYMENT),
    },
)
decline = described(
    Particulars(
        problems={"payment-mismatch": {}, "rate-limited": {}},
        headers={200: ("Idempotent-Replayed",), 201: ("Location",)},
        links={201: {"get_payment": {"order_id": "$response.body#/order_id"}}},
    ),
    operation_id="decline",
    summary="Decline an order's payment",
    tags=["payments"],
    request=ChargeRequest,
    examples=[OpenApiExample("decline", TERMS, request_only=True)],
    responses={
        201: _one(PaymentResponse, "Declined now: no account is charged", "first", DECLINED),
        200: _one(PaymentResponse, "The payment, made before", "replayed", PAYMENT),
    },
)
get_payment = described(
    Particulars(),
    operation_id="get_payment",
    summary="Get the payment of an order",
    tags=["payments"],
    responses={200: _one(PaymentResponse, "The payment", "payment", PAYMENT)},
)
list_accounts = described(
    Particulars(links={200: {"get_account": _OF_THE_FIRST, "list_entries": _OF_THE_FIRST}}),
    operation_id="list_accounts",
    summary="List the caller's accounts",
    tags=["accounts"],
    responses={200: _one(AccountResponse(many=True), "A page of accounts", "accounts", ACCOUNT)},
)
get_account = described(
    Particulars(),
    operation_id="get_account",
    summary="Get an account",
    tags=["accounts"],
    responses={200: _one(AccountResponse, "The account", "account", ACCOUNT)},
)
list_entries = described(
    Particulars(),
    operation_id="list_entries",
    summary="List an account's entries, newest first",
    tags=["accounts"],
    responses={200: _one(EntryResponse(many=True), "A page of entries", "entries", ENTRY)},
)
