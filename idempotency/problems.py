"""A refusal as an HTTP response in the form of RFC 9457, for plain Django views."""

from typing import Any

from django.http import HttpResponse, JsonResponse

from idempotency.conf import conf
from idempotency.errors import Refusal

CONTENT_TYPE = "application/problem+json"


def document(refusal: Refusal) -> dict[str, Any]:
    """Return the members of a refusal's problem document."""
    return {
        "type": conf().PROBLEM_TYPE.format(slug=refusal.slug),
        "title": str(refusal.title),
        "status": refusal.status,
        "detail": str(refusal.detail),
        **refusal.members,
    }


def headers(refusal: Refusal) -> dict[str, str]:
    """Return a refusal's headers: where its problem is described, and when to come back."""
    described = f'<{conf().PROBLEM_TYPE.format(slug=refusal.slug)}>; rel="describedby"'
    later = {} if refusal.retry_after is None else {"Retry-After": str(refusal.retry_after)}
    return {"Link": described, **later}


def response(refusal: Refusal) -> HttpResponse:
    """Return a refusal as a response."""
    return JsonResponse(
        document(refusal),
        status=refusal.status,
        content_type=CONTENT_TYPE,
        headers=headers(refusal),
    )
