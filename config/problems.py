"""What each exception means in HTTP, as RFC 9457 `application/problem+json`."""

from collections.abc import Iterator
from typing import Any

import structlog
from django.core.exceptions import PermissionDenied
from django.db import Error, IntegrityError
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    JsonResponse,
    UnreadablePostError,
)
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.csrf import csrf_exempt
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.response import Response
from rest_framework.views import exception_handler as drf_handler

from idempotency import problem
from idempotency.database_errors import is_temporary, sqlstate, violated_constraint
from idempotency.errors import Outcome, Refusal
from orders.errors import MixedCurrencies, OrderNotFound, ProductNotFound
from payments.errors import AccountNotFound, CurrencyMismatch, PaymentMismatch

log = structlog.get_logger("problems")

RETRY_AFTER_SECONDS = 2
SLUGS = {
    400: "malformed-request",
    401: "not-authenticated",
    403: "permission-denied",
    404: "not-found",
    405: "method-not-allowed",
    406: "not-acceptable",
    411: "length-required",
    413: "body-too-large",
    415: "unsupported-media-type",
    500: "internal-error",
}
UNAVAILABLE: dict[str, Any] = {
    "slug": "temporarily-unavailable",
    "status": 503,
    "title": _("Temporarily unavailable"),
    "detail": _("The database can't be reached or is busy. Repeat the same request, with its key."),
    "retryable": True,
}
# What a problem is called where its place in the code doesn't say.
TITLES = {
    "idempotency-key-missing": _("Idempotency key missing"),
    "idempotency-key-invalid": _("Idempotency key invalid"),
    "idempotency-key-reused": _("Idempotency key reused"),
    "idempotency-key-in-use": _("Idempotency key in use"),
    "idempotency-key-expired": _("Idempotency key expired"),
    "idempotency-record-unreadable": _("Idempotency record unreadable"),
    "rate-limited": _("Rate limited"),
    "malformed-request": _("Malformed request"),
    "not-authenticated": _("Not authenticated"),
    "permission-denied": _("Permission denied"),
    "not-found": _("Not found"),
    "method-not-allowed": _("Method not allowed"),
    "not-acceptable": _("Not acceptable"),
    "length-required": _("Length required"),
    "body-too-large": _("Body too large"),
    "unsupported-media-type": _("Unsupported media type"),
    "internal-error": _("Internal error"),
}
# What a problem's `type` leads to: the meaning, and what a client does.
MEANINGS = {
    "idempotency-key-missing": _("Send an Idempotency-Key header: a UUID made once per intention."),
    "idempotency-key-invalid": _("1 to 255 visible ASCII characters, or a token issued to you."),
    "idempotency-key-reused": _("The key named another request. Nothing ran. Use a new key."),
    "idempotency-key-in-use": _("The first request is still running. Repeat it after Retry-After."),
    "idempotency-key-expired": _("The key was used long ago. Look at the object; use a new key."),
    "idempotency-record-unreadable": _(
        "The stored answer can't be read. Nothing ran. Tell support."
    ),
    "order-already-paid": _("The order was charged once, earlier. Nothing to do."),
    "order-failed": _("The order's payment was declined. Place a new order."),
    "payment-declined": _("The account does not hold the amount; nothing was charged."),
    "payment-mismatch": _("The order, or its payment, has another account, amount or currency."),
    "rate-limited": _("Come back after the time in Retry-After."),
    "temporarily-unavailable": _("Repeat the same request, with the same key, after Retry-After."),
    "validation-error": _(
        "The members named in `errors` are not valid. Mend them; same key or new."
    ),
    "malformed-request": _("Bad request syntax or unsupported method"),
    "not-authenticated": _("No permission -- see authorization schemes"),
    "permission-denied": _("Request forbidden -- authorization will not help"),
    "not-found": _("Nothing matches the given URI"),
    "method-not-allowed": _("Specified method is invalid for this resource"),
    "not-acceptable": _("URI not available in preferred format"),
    "length-required": _("Client must specify Content-Length"),
    "body-too-large": _("Entity is too large"),
    "unsupported-media-type": _("Entity body in unsupported format"),
    "internal-error": _("Server got itself in trouble"),
}
INVALID: dict[type[Exception], tuple[str, Promise]] = {
    ProductNotFound: ("/lines", _("There is no product with this sku.")),
    MixedCurrencies: ("/lines", _("All lines need the same currency.")),
    CurrencyMismatch: ("/account", _("The account is kept in another currency.")),
}
NOT_FOUND = (Http404, OrderNotFound, AccountNotFound)


def handler(  # noqa: PLR0911 - one line of the mapping each
    error: Exception, context: dict[str, Any]
) -> Response | None:
    """Answer an exception of a view; DRF's EXCEPTION_HANDLER."""
    match error:
        case Refusal():
            return _refusal(error)
        case ValidationError():
            return _invalid(list(_flatten(error.detail)))
        case ProductNotFound() | MixedCurrencies() | CurrencyMismatch():
            pointer, detail = INVALID[type(error)]
            return _invalid([{"pointer": pointer, "detail": str(detail)}])
        case PaymentMismatch():
            return _payment_mismatch()
        case IntegrityError() if violated_constraint(error) == "orders_payment_on_order_terms":
            return _payment_mismatch()
        case Error() if is_temporary(error):
            return _unavailable(error, context)
    return _by_status(error, context)


def _by_status(error: Exception, context: dict[str, Any]) -> Response:
    if isinstance(error, NOT_FOUND):
        return _plain(404, gettext("There is no such object, or it is not yours."))
    if isinstance(error, UnreadablePostError):
        return _plain(400, gettext("The request's body ended before its end."))
    if isinstance(error, PermissionDenied):
        return _plain(403, gettext("You may not do this."))
    if not isinstance(error, APIException):
        log.exception("a bug", exc_info=error)
        return _plain(500, gettext("Something went wrong on our side."), outcome="unknown")
    answered = drf_handler(error, context)  # for WWW-Authenticate, Retry-After and Allow
    # DRF translates all that it says, but for these words.
    detail = str(error.detail).replace("JSON parse error", gettext("JSON parse error"))
    response = _plain(error.status_code, detail)
    if answered is not None:
        for name in ("WWW-Authenticate", "Retry-After"):
            if name in answered:
                response[name] = answered[name]
    return response


def _refusal(error: Refusal) -> Response:
    if error.status_code >= 500:
        log.error("record refused", reason=error.default_code)
    members: dict[str, Any] = {} if error.same_key is None else {"same_key": error.same_key}
    return problem.answer(
        str(error.default_code),
        status=error.status_code,
        title=TITLES[str(error.default_code)],
        detail=str(error.detail),
        outcome=error.outcome,
        retryable=error.retryable,
        retry_after=error.retry_after,
        **members,
    )


def _invalid(errors: list[dict[str, str]]) -> Response:
    return problem.answer(
        "validation-error",
        status=400,
        title=gettext("The request is not valid"),
        detail="; ".join(f"{error['pointer']}: {error['detail']}" for error in errors),
        errors=errors,
    )


def _payment_mismatch() -> Response:
    return problem.answer(
        "payment-mismatch",
        status=409,
        title=gettext("The terms differ"),
        detail=gettext("The order, or its payment, has another account, amount or currency."),
    )


def _unavailable(error: Exception, context: dict[str, Any]) -> Response:
    log.warning("database trouble", sqlstate=sqlstate(error), error=str(error).strip())
    reads = context["request"].method in {"GET", "HEAD", "OPTIONS"}
    outcome: Outcome = "none" if reads else "unknown"
    keyed = "Idempotency-Key" in context["request"].headers
    members: dict[str, Any] = {"same_key": True} if keyed else {}
    return problem.answer(
        **UNAVAILABLE, outcome=outcome, retry_after=RETRY_AFTER_SECONDS, **members
    )


def database_unavailable(error: Exception) -> JsonResponse:
    """Answer a probe that the database is down or not migrated."""
    log.warning("not ready", error=str(error).strip() or type(error).__name__)
    body = problem.document(**UNAVAILABLE)
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
    return JsonResponse(body, status=503, content_type=problem.CONTENT_TYPE, headers=headers)


def _plain(status: int, detail: str, **members: Any) -> Response:
    slug = SLUGS[status]
    return problem.answer(slug, status=status, title=TITLES[slug], detail=detail, **members)


def for_status(status: int) -> JsonResponse:
    """Return the problem for an error that arose outside of any API view."""
    slug = SLUGS.get(status, SLUGS[500 if status >= 500 else 400])
    title = TITLES[slug]
    outcome: Outcome = "unknown" if status >= 500 else "none"
    body = problem.document(slug, status=status, title=title, detail=title, outcome=outcome)
    return JsonResponse(body, status=status, content_type=problem.CONTENT_TYPE)


@csrf_exempt
def unknown_route(request: HttpRequest) -> JsonResponse:
    """Answer a path under /api/ that leads nowhere."""
    return for_status(404)


def _flatten(detail: Any, pointer: str = "") -> Iterator[dict[str, str]]:
    """Yield each error of DRF's nested lists and dicts with a JSON pointer to its member."""
    if isinstance(detail, dict):
        for name, inner in detail.items():
            at = pointer if name == "non_field_errors" else f"{pointer}/{name}"
            yield from _flatten(inner, at)
    elif isinstance(detail, list):
        nested = any(isinstance(inner, dict | list) for inner in detail)
        for index, inner in enumerate(detail):
            yield from _flatten(inner, f"{pointer}/{index}" if nested else pointer)
    else:
        yield {"pointer": pointer, "detail": str(detail)}


def explain(request: HttpRequest, slug: str) -> HttpResponse:
    """Say in words what a problem's `type` means."""
    meaning = MEANINGS.get(slug)
    if meaning is None:
        raise Http404
    return HttpResponse(f"{slug}\n\n{meaning}\n", content_type="text/plain; charset=utf-8")
