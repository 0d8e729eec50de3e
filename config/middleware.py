"""What happens around every request: its id, its one log line, and no HTML errors from the API."""

import hashlib
import re
import time
import uuid
from collections.abc import Callable
from typing import Any

import structlog
from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.functional import LazyObject, empty

from config.problems import for_status

log = structlog.get_logger("request")

GetResponse = Callable[[HttpRequest], HttpResponseBase]
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
_QUIET = ("/healthz", "/readyz", "/static/")
_MACHINE = ("/api/", "/healthz", "/readyz")


def request_id(get_response: GetResponse) -> Callable[[HttpRequest], HttpResponseBase]:
    """Accept or make an `X-Request-Id`, bind it to every log line, return it with the answer."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        started = time.perf_counter()
        sent = request.headers.get("X-Request-Id", "")
        identifier = sent if _REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex
        request.request_id = identifier  # type: ignore[attr-defined]
        with structlog.contextvars.bound_contextvars(request_id=identifier):
            response = get_response(request)
            response["X-Request-Id"] = identifier
            if not request.path.startswith(_QUIET):
                log.info("answered", **_facts(request, response), ms=_elapsed(started))
        return response

    return middleware


def problems_for_the_api(get_response: GetResponse) -> Callable[[HttpRequest], HttpResponseBase]:
    """Turn any HTML error under the API's paths into problem+json: a client parses JSON."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        if request.path.startswith(_MACHINE) and (refused := _refused_body(request)):
            return for_status(refused)
        response = get_response(request)
        is_html = response.get("Content-Type", "").startswith("text/html")
        if response.status_code < 400 or not is_html or not request.path.startswith(_MACHINE):
            return response
        return for_status(response.status_code)

    return middleware


def _refused_body(request: HttpRequest) -> int | None:
    """Return the status for a body that is not read at all: of no known length, or too long."""
    if "HTTP_TRANSFER_ENCODING" in request.META:
        return 411
    if int(request.META.get("CONTENT_LENGTH") or 0) > settings.MAX_BODY_BYTES:
        return 413
    return None


def _facts(request: HttpRequest, response: HttpResponseBase) -> dict[str, Any]:
    """Return what a log may know of a request: no body, no credential, no key to replay."""
    facts: dict[str, Any] = {
        "method": request.method,
        "path": request.path,
        "status": response.status_code,
        "user": _known_user(request),
    }
    if key := request.headers.get("Idempotency-Key"):
        facts["key_digest"] = hashlib.sha256(key.strip('" ').encode()).hexdigest()[:12]
        facts["replayed"] = response.get("Idempotent-Replayed") == "true"
    return facts


def _known_user(request: HttpRequest) -> Any:
    """Return who made the request if that was asked before: a log line asks no database."""
    user = getattr(request, "user", None)
    if isinstance(user, LazyObject) and user._wrapped is empty:
        return None
    return getattr(user, "pk", None)


def _elapsed(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 1)
