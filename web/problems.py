"""Errors as RFC 9457 `application/problem+json`; `web.catalogue` has their words and statuses."""

from collections.abc import Iterator
from typing import Any

import structlog
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.db import Error
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, UnreadablePostError
from django.utils.translation import gettext
from django.views.decorators.csrf import csrf_exempt
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.response import Response
from rest_framework.views import exception_handler as drf_handler

from idempotency.database_errors import is_temporary, sqlstate
from idempotency.drf import Refused
from idempotency.errors import Refusal
from idempotency.problems import CONTENT_TYPE
from idempotency.problems import headers as headers_of
from web.catalogue import BY_STATUS, CATALOGUE

log = structlog.get_logger("problems")

RETRY_AFTER_SECONDS = 2
OF_DJANGO: tuple[tuple[type[Exception], str], ...] = (
    (Http404, "not-found"),
    (PermissionDenied, "permission-denied"),
    (SuspiciousOperation, "malformed-request"),  # such as more query parameters than Django reads
)


def document(slug: str, **members: Any) -> dict[str, Any]:
    """Return a problem's members as the catalogue has them, but for those given.

    The title and the detail are for people, in the request's language; all else is for programs.
    """
    problem = CATALOGUE[slug]
    same_key = {} if problem.same_key is None else {"same_key": problem.same_key}
    described = {
        "type": f"/problems/{slug}",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "outcome": problem.outcome,
        "retryable": problem.retryable,
        **same_key,
        **members,
    }
    return described | {name: str(described[name]) for name in ("title", "detail")}


def response(slug: str, *, retry_after: int | None = None, **members: Any) -> Response:
    """Return a problem as a DRF response.

    :param retry_after: seconds, for the header of that name
    """
    body = document(slug, **members)
    problem = Response(body, body["status"], content_type=CONTENT_TYPE)
    if retry_after is not None:
        problem["Retry-After"] = str(retry_after)
    return problem


def handler(  # noqa: PLR0911 - one line of the mapping each
    error: Exception, context: dict[str, Any]
) -> Response:
    """Respond to an exception of a view; for DRF's EXCEPTION_HANDLER."""
    match error:
        case Refused():
            return _refusal(error.refusal)
        case Refusal():
            return _refusal(error)
        case ValidationError():
            return invalid(list(_flatten(error.detail)))
        case Http404() | PermissionDenied() | SuspiciousOperation():
            return response(next(slug for kind, slug in OF_DJANGO if isinstance(error, kind)))
        case UnreadablePostError():
            detail = gettext("The request's body ended before its end.")
            return response("malformed-request", detail=detail)
        case Error() if is_temporary(error):
            return _unavailable(error, context)
        case APIException():
            return _of_drf(error, context)
    log.exception("a bug", exc_info=error)
    return response("internal-error")


def invalid(errors: list[dict[str, str]]) -> Response:
    """Return 400 for members or query parameters that are not valid, each by a JSON pointer."""
    detail = "; ".join(f"{error['pointer']}: {error['detail']}" for error in errors)
    return response("validation-error", detail=detail, errors=errors)


def for_status(status: int, **members: Any) -> JsonResponse:
    """Return the problem for an error that arose outside of any API view."""
    problem = BY_STATUS.get(status, BY_STATUS[500 if status >= 500 else 400])
    body = document(problem.slug, status=status, detail=problem.title, **members)
    return JsonResponse(body, status=status, content_type=CONTENT_TYPE)


def database_unavailable(error: Exception) -> JsonResponse:
    """Return 503 for a probe: the database is down or not migrated."""
    log.warning("not ready", error=str(error).strip() or type(error).__name__)
    body = document("temporarily-unavailable")
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
    return JsonResponse(body, status=503, content_type=CONTENT_TYPE, headers=headers)


@csrf_exempt
def unknown_route(request: HttpRequest) -> JsonResponse:
    """Return 404 for a path under /api/ that leads nowhere."""
    return for_status(404)


def explain(request: HttpRequest, slug: str) -> HttpResponse:
    """Explain in words what a problem's `type` means."""
    if slug not in CATALOGUE:
        raise Http404
    meaning = CATALOGUE[slug].meaning
    return HttpResponse(f"{slug}\n\n{meaning}\n", content_type="text/plain; charset=utf-8")


def _refusal(refusal: Refusal) -> Response:
    if refusal.status >= 500:
        log.error("record refused", reason=refusal.slug)
    problem = response(refusal.slug, detail=str(refusal.detail), **refusal.members)
    for name, value in headers_of(refusal).items():
        problem[name] = value
    return problem


def _unavailable(error: Exception, context: dict[str, Any]) -> Response:
    log.warning("database unavailable", sqlstate=sqlstate(error), error=str(error).strip())
    reads = context["request"].method in {"GET", "HEAD", "OPTIONS"}
    keyed = "Idempotency-Key" in context["request"].headers
    members: dict[str, Any] = {"outcome": "none" if reads else "unknown"}
    members |= {"same_key": True} if keyed else {}
    return response("temporarily-unavailable", retry_after=RETRY_AFTER_SECONDS, **members)


def _of_drf(error: APIException, context: dict[str, Any]) -> Response:
    """Return the problem of DRF's own exception, with the headers that DRF gives it."""
    # DRF translates all its texts but these words.
    detail = str(error.detail).replace("JSON parse error", gettext("JSON parse error"))
    problem = response(BY_STATUS[error.status_code].slug, detail=detail)
    if by_drf := drf_handler(error, context):
        for name in ("WWW-Authenticate", "Retry-After"):
            if name in by_drf:
                problem[name] = by_drf[name]
    return problem


def _flatten(detail: Any, pointer: str = "") -> Iterator[dict[str, str]]:
    """Yield each error of DRF's nested lists and dicts with a JSON pointer to its member."""
    if isinstance(detail, dict):
        for name, inner in detail.items():
            escaped = str(name).replace("~", "~0").replace("/", "~1")  # RFC 6901, section 3
            at = pointer if name == "non_field_errors" else f"{pointer}/{escaped}"
            yield from _flatten(inner, at)
    elif isinstance(detail, list):
        nested = any(isinstance(inner, dict | list) for inner in detail)
        for index, inner in enumerate(detail):
            yield from _flatten(inner, f"{pointer}/{index}" if nested else pointer)
    else:
        yield {"pointer": pointer, "detail": str(detail)}
