"""Every problem that a response can name: its slug, status, words and meaning, in one place.

The exception handler, the OpenAPI schema, the explanation pages under /problems/, the translations
and the test of docs/contract.md read this list.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.utils.translation import gettext_lazy as _

from idempotency import errors
from idempotency.errors import Outcome, Refusal

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise


@dataclass(frozen=True)
class Problem:
    """A problem type of RFC 9457; `same_key` and `retryable` tell a client how to go on.

    :param detail: the text where a response has none of its own
    :param meaning: the text of `/problems/<slug>`: the cause, and what a client does
    :param outcome: whether the effect took place
    :param same_key: whether to retry with the same Idempotency-Key; None: no key is in play
    """

    slug: str
    status: int
    title: "StrOrPromise"
    detail: "StrOrPromise"
    meaning: "StrOrPromise"
    outcome: Outcome = "none"
    retryable: bool = False
    same_key: bool | None = None


def _of(refusal: type[Refusal], meaning: "StrOrPromise") -> Problem:
    """Return the problem that a refusal of the idempotency boundary becomes."""
    return Problem(
        refusal.slug,
        refusal.status,
        refusal.title,
        refusal.detail,
        meaning,
        refusal.outcome,
        refusal.retryable,
        refusal.same_key,
    )


def _plain(slug: str, status: int, title: "StrOrPromise", meaning: "StrOrPromise") -> Problem:
    """Return a problem whose title is all the detail there is."""
    return Problem(slug, status, title, title, meaning)


_ABOUT_KEYS = (
    _of(
        errors.KeyMissing,
        _("Send an Idempotency-Key header: a UUID made once per intention."),
    ),
    _of(
        errors.KeyInvalid,
        _("1 to 255 visible ASCII characters, or a token issued to you."),
    ),
    _of(
        errors.KeyReused,
        _("The key named another request. Nothing ran. Use a new key."),
    ),
    _of(
        errors.KeyInUse,
        _("The first request is still running. Retry with the same key after Retry-After."),
    ),
    _of(
        errors.KeyExpired,
        _("The response is no longer stored. Get the object to see its state; then use a new key."),
    ),
    _of(
        errors.RecordUnreadable,
        _("The stored response can't be read. Nothing ran. Contact support."),
    ),
    _of(errors.RateLimited, _("Retry when the time in Retry-After has passed.")),
)

_ABOUT_ORDERS = (
    Problem(
        "order-already-paid",
        409,
        _("The order is already paid"),
        _("It was charged once; nothing changed."),
        _("The order was charged once, by an earlier request. There is nothing to do."),
        outcome="done",
        same_key=False,
    ),
    Problem(
        "order-failed",
        409,
        _("The order has failed"),
        _("Its payment was declined. Place a new order."),
        _("The order's payment was declined. Place a new order."),
        outcome="done",
        same_key=False,
    ),
    Problem(
        "payment-declined",
        402,
        _("The payment was declined"),
        _("The account does not hold the amount."),
        _("The account does not hold the amount; nothing was charged."),
        outcome="done",
        same_key=False,
    ),
    Problem(
        "payment-mismatch",
        409,
        _("The terms differ"),
        _("The order, or its payment, has another account, amount or currency."),
        _("The order, or its payment, has another account, amount or currency."),
    ),
)

_ABOUT_REQUESTS = (
    Problem(
        "temporarily-unavailable",
        503,
        _("Temporarily unavailable"),
        _("The database can't be reached or is busy. Retry the same request with the same key."),
        _("Retry the same request with the same key after Retry-After."),
        retryable=True,
    ),
    _plain(
        "validation-error",
        400,
        _("The request is not valid"),
        _("`errors` names what is not valid. Correct it and retry, with the same or a new key."),
    ),
)

# One for each status that needs no further distinction.
_ABOUT_HTTP = (
    _plain(
        "malformed-request", 400, _("Malformed request"), _("The request's syntax is not valid.")
    ),
    _plain(
        "not-authenticated",
        401,
        _("Not authenticated"),
        _("The request has no valid credentials. See WWW-Authenticate."),
    ),
    Problem(
        "permission-denied",
        403,
        _("Permission denied"),
        _("You may not do this."),
        _("The caller may not do this. Other credentials may."),
    ),
    Problem(
        "not-found",
        404,
        _("Not found"),
        _("There is no such object, or it is not yours."),
        _("Nothing is at this address, or it belongs to another user."),
    ),
    _plain(
        "method-not-allowed",
        405,
        _("Method not allowed"),
        _("The resource does not support this method. See Allow."),
    ),
    _plain(
        "not-acceptable",
        406,
        _("Not acceptable"),
        _("No representation matches the Accept header. The API responds in JSON."),
    ),
    _plain("length-required", 411, _("Length required"), _("Send a Content-Length header.")),
    _plain(
        "body-too-large",
        413,
        _("Body too large"),
        _("The request's body is longer than the API reads."),
    ),
    _plain(
        "unsupported-media-type",
        415,
        _("Unsupported media type"),
        _("Send the body as application/json."),
    ),
    Problem(
        "internal-error",
        500,
        _("Internal error"),
        _("Something went wrong on our side."),
        _("The server failed. Retry with the same key, if there was one, or contact support."),
        outcome="unknown",
    ),
)

CATALOGUE = {
    problem.slug: problem
    for problem in (*_ABOUT_KEYS, *_ABOUT_ORDERS, *_ABOUT_REQUESTS, *_ABOUT_HTTP)
}
BY_STATUS = {problem.status: problem for problem in _ABOUT_HTTP}
