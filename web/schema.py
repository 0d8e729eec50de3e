"""The OpenAPI schema: headers, errors and examples that drf-spectacular can't see by itself."""

from typing import Any

from django.conf import settings
from drf_spectacular.extensions import OpenApiViewExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view

from idempotency.serializers import TokenResponse
from web.problems import CONTENT_TYPE, document

KEY_HEADER = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!#-~][!-~]*$"},
    OpenApiParameter.HEADER,
    required=True,
    description="Names this request: every repeat with the same key gets the first answer.",
)
WAIT_HEADER = OpenApiParameter(
    "Prefer",
    str,
    OpenApiParameter.HEADER,
    description="`wait=N`: how many seconds a repeat may wait for the first answer (5; 0 to 30).",
)
REPLAYED_HEADER = OpenApiParameter(
    "Idempotent-Replayed",
    {"type": "string", "enum": ["true"]},
    OpenApiParameter.HEADER,
    response=True,
    description="Present on the first answer sent again.",
)

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
SUBMITTED = {**ORDER, "status": 0, "status_label": "submitted", "payment": None}
PAYING = {**ORDER, "status": 1, "status_label": "paying", "payment": None}
FAILED = {
    **ORDER,
    "status": 3,
    "status_label": "failed",
    "payment": {**ORDER["payment"], "outcome": "declined"},
}
PAYMENT = {**ORDER["payment"], "order_id": ORDER["id"]}
TOKEN = "tok_2kVv3nq0p1o6yX9sQeHh5r8cJ4uZtLwAaBbCcDdEeFf"  # noqa: S105 - an example


def _problem(slug: str, status: int, detail: str, **members: Any) -> dict[str, Any]:
    title = slug.replace("-", " ").capitalize()
    return document(slug, status=status, title=title, detail=detail, **members)


# By status: the problem any operation may answer with.
PROBLEMS = {
    400: _problem("malformed-request", 400, "JSON parse error"),
    401: _problem("not-authenticated", 401, "Authentication credentials were not provided."),
    403: _problem("permission-denied", 403, "You may not do this."),
    402: _problem("payment-declined", 402, "The account does not hold the amount.", outcome="done"),
    404: _problem("not-found", 404, "There is no such object, or it is not yours."),
    406: _problem("not-acceptable", 406, "Could not satisfy the request Accept header."),
    409: _problem(
        "idempotency-key-in-use",
        409,
        "A request with this key, or for this object, is still running. Repeat with this key.",
        outcome="unknown",
        retryable=True,
        same_key=True,
    ),
    410: _problem(
        "idempotency-key-expired",
        410,
        "This Idempotency-Key was used before and its answer is no longer kept.",
        outcome="done",
        same_key=False,
    ),
    411: _problem("length-required", 411, "The request needs a Content-Length header."),
    413: _problem("body-too-large", 413, "The request's body is larger than this API reads."),
    415: _problem("unsupported-media-type", 415, "Unsupported media type in request."),
    422: _problem(
        "idempotency-key-reused",
        422,
        "This Idempotency-Key belongs to a different request. Use a new key.",
        same_key=False,
    ),
    429: _problem("rate-limited", 429, "Come back after the time in Retry-After.", retryable=True),
    503: _problem(
        "temporarily-unavailable",
        503,
        "The database can't be reached or is busy. Repeat the same request, with its key.",
        outcome="unknown",
        retryable=True,
        same_key=True,
    ),
}

# By operation and status (or "request"): what is particular to it.
EXAMPLES: dict[tuple[str, str], dict[str, Any]] = {
    ("orders_create", "request"): {"place": {"lines": [{"sku": "TEA", "quantity": 2}]}},
    ("orders_create", "201"): {"placed": SUBMITTED},
    ("orders_pay_create", "request"): {"pay": {"account": 1}},
    ("orders_pay_create", "200"): {"paid": ORDER},
    ("orders_pay_create", "202"): {"still-paying": PAYING},
    ("orders_pay_create", "402"): {
        "payment-declined": _problem(
            "payment-declined",
            402,
            "The account does not hold the amount.",
            outcome="done",
            same_key=False,
            order=FAILED,
        )
    },
    ("orders_pay_create", "409"): {
        "order-already-paid": _problem(
            "order-already-paid",
            409,
            "It was charged once; nothing changed.",
            outcome="done",
            same_key=False,
            order=ORDER,
        ),
        "order-failed": _problem(
            "order-failed",
            409,
            "Its payment was declined. Place a new order.",
            outcome="done",
            same_key=False,
            order=FAILED,
        ),
    },
    ("payments_create", "request"): {
        "pay": {"order_id": ORDER["id"], "account_id": 1, "amount": 500, "currency": "EUR"}
    },
    ("payments_create", "201"): {"first": PAYMENT},
    ("payments_create", "200"): {"repeated": PAYMENT},
    ("payments_create", "409"): {
        "payment-mismatch": _problem(
            "payment-mismatch",
            409,
            "The order, or its payment, has another account, amount or currency.",
        )
    },
    ("tokens_create", "201"): {"issued": {"token": TOKEN, "expires_at": "2026-01-02T03:34:05Z"}},
}

# By operation: the problems that nothing in its form announces.
PARTICULAR = {"orders_pay_create": {402}, "payments_create": {404, 409}, "sign_in_create": {401}}

PROBLEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "RFC 9457 problem details.",
    "required": ["type", "title", "status", "detail", "outcome", "retryable"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "outcome": {
            "type": "string",
            "enum": ["none", "done", "unknown"],
            "description": "none: nothing happened; done: it happened, earlier or now; unknown",
        },
        "retryable": {"type": "boolean"},
        "same_key": {"type": "boolean", "description": "retry with the same Idempotency-Key"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "detail"],
                "properties": {"pointer": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
        "order": {"$ref": "#/components/schemas/OrderResponse"},
    },
}


class Schema(AutoSchema):
    """Adds the headers of the idempotency boundary to the operations that wear it."""

    def get_override_parameters(self) -> list[Any]:
        handler = getattr(self.view, self.method.lower(), None)
        if getattr(handler, "idempotent", False):
            return [KEY_HEADER, WAIT_HEADER, REPLAYED_HEADER]
        return []


class TokenSchema(OpenApiViewExtension):  # type: ignore[no-untyped-call]
    """The token view's answer, told here so that its app needs no OpenAPI library."""

    target_class = "idempotency.views.TokenView"

    def view_replacement(self) -> Any:
        described = extend_schema(request=None, responses={201: TokenResponse})
        return extend_schema_view(post=described)(self.target)


def complete(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Add every operation's possible problems, and the examples (a drf-spectacular hook)."""
    result["components"]["schemas"]["Problem"] = PROBLEM_SCHEMA
    for path, operations in result["paths"].items():
        for operation in operations.values():
            _add_problems(operation, path)
            _add_examples(operation)
    return result


def _add_problems(operation: dict[str, Any], path: str) -> None:
    for status in sorted(_possible(operation, path)):
        operation["responses"].setdefault(
            str(status),
            {
                "description": PROBLEMS[status]["title"],
                "content": {
                    CONTENT_TYPE: {
                        "schema": {"$ref": "#/components/schemas/Problem"},
                        "examples": {_slug(PROBLEMS[status]): {"value": PROBLEMS[status]}},
                    }
                },
            },
        )


def _possible(operation: dict[str, Any], path: str) -> set[int]:
    parameters = {parameter["name"] for parameter in operation.get("parameters", ())}
    possible = {406, 503}
    if {} not in operation.get("security", [{}]):
        possible |= {401, 403}
    if "{" in path or "cursor" in parameters:
        possible |= {404}
    if "page_size" in parameters:
        possible |= {400}
    if "requestBody" in operation:
        possible |= {400, 411, 413, 415}
    if KEY_HEADER.name in parameters:
        possible |= {400, 404, 409, 410, 422}
    if path.endswith(("/tokens/", "/sign-in/")):
        possible |= {429}
    return possible | PARTICULAR.get(operation["operationId"], set())


def _add_examples(operation: dict[str, Any]) -> None:
    name = operation["operationId"]
    for parameter in operation.get("parameters", ()):
        if parameter["name"] == KEY_HEADER.name:
            parameter["example"] = settings.EXAMPLE_KEY
    if (name, "request") in EXAMPLES:
        _show(operation["requestBody"], EXAMPLES[name, "request"])
    for status, response in operation["responses"].items():
        _show(response, EXAMPLES.get((name, status), {}))


def _show(body: dict[str, Any], values: dict[str, Any]) -> None:
    for media in body.get("content", {}).values():
        for title, value in values.items():
            media.setdefault("examples", {})[title] = {"value": value}


def _slug(example: dict[str, Any]) -> str:
    return str(example["type"]).rpartition("/")[2]
