"""Answers in the form of RFC 9457, `application/problem+json`."""

from typing import TYPE_CHECKING, Any

from rest_framework.response import Response

from idempotency.errors import Outcome

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

CONTENT_TYPE = "application/problem+json"


def document(  # noqa: PLR0913 - the members of RFC 9457 and our two
    slug: str,
    *,
    status: int,
    title: "StrOrPromise",
    detail: "StrOrPromise",
    outcome: Outcome = "none",
    retryable: bool = False,
    **members: Any,
) -> dict[str, Any]:
    """Return a problem's members; `outcome` says whether the effect took place.

    The title and the detail are for people, in the request's language; all else is for programs.
    """
    return {
        "type": f"/problems/{slug}",
        "title": str(title),
        "status": status,
        "detail": str(detail),
        "outcome": outcome,
        "retryable": retryable,
        **members,
    }


def answer(slug: str, *, status: int, retry_after: int | None = None, **members: Any) -> Response:
    """Return a problem as a DRF response; a returned 402 or 409 is stored under its key."""
    response = Response(document(slug, status=status, **members), status, content_type=CONTENT_TYPE)
    if retry_after is not None:
        response["Retry-After"] = str(retry_after)
    return response
