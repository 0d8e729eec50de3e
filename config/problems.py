"""Which error of the order and payment systems is which problem in HTTP."""

from typing import Any

from django.db import IntegrityError
from rest_framework.response import Response

from idempotency.database_errors import violated_constraint
from orders.errors import MixedCurrencies, OrderNotFound, ProductNotFound
from payments.errors import AccountNotFound, CurrencyMismatch, PaymentMismatch
from web import problems

# The member of the request that is not valid.
POINTERS = {ProductNotFound: "/lines", MixedCurrencies: "/lines", CurrencyMismatch: "/account"}


def handler(error: Exception, context: dict[str, Any]) -> Response:
    """Respond to an exception of a view; DRF's EXCEPTION_HANDLER."""
    match error:
        case ProductNotFound() | MixedCurrencies() | CurrencyMismatch():
            pointer = POINTERS[type(error)]
            return problems.invalid([{"pointer": pointer, "detail": str(error.detail)}])
        case OrderNotFound() | AccountNotFound():
            return problems.response("not-found")
        case PaymentMismatch():
            return problems.response("payment-mismatch")
        case IntegrityError() if violated_constraint(error) == "orders_payment_on_order_terms":
            return problems.response("payment-mismatch")
    return problems.handler(error, context)
