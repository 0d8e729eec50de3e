"""Middleware of every request: its id, its one log line, and no HTML errors from the API."""

import re
import time
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

import structlog
from django.conf import settings
from django.dispatch import receiver
from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.utils import translation
from django.utils.cache import patch_cache_control, patch_vary_headers
from django.utils.functional import LazyObject, empty
from uuid_utils.compat import uuid7

from idempotency import key_digest, signals
from web.pages import is_html, unreadable
from web.problems import for_status

log = structlog.get_logger("request")

GetResponse = Callable[[HttpRequest], HttpResponseBase]
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
_KEY_DIGEST = re.compile(r"[0-9a-f]{12}")
QUIET = ("/healthz", "/readyz", "/metrics", "/static/")  # neither logged nor counted
_MACHINE = ("/api/", "/healthz", "/readyz", "/metrics")


class RequestLog:
    """Accepts or makes an `X-Request-Id`, binds it to every log line, and returns it.

    With it the digest of the key and the order's id, where they are known. At the end it writes the
    one log line of the request.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        # In a context of its own: whatever is bound, in a view too, ends with the request.
        return copy_context().run(self._respond, request)

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> None:
        """Bind the order that the address names, now that Django has resolved it."""
        if "order_id" in kwargs:
            structlog.contextvars.bind_contextvars(order_id=str(kwargs["order_id"]))

    def _respond(self, request: HttpRequest) -> HttpResponseBase:
        started = time.perf_counter()
        sent = request.META.get("HTTP_X_REQUEST_ID", "")
        identifier = sent if _REQUEST_ID.fullmatch(sent) else uuid7().hex
        request.request_id = identifier  # type: ignore[attr-defined]
        structlog.contextvars.bind_contextvars(request_id=identifier, **_key_digest(request))
        if request.path.startswith(QUIET):
            response = self.get_response(request)
        else:
            response = self._respond_and_log(request, started)
        response["X-Request-Id"] = identifier
        return response

    def _respond_and_log(self, request: HttpRequest, started: float) -> HttpResponseBase:
        response = self.get_response(request)
        seconds = time.perf_counter() - started
        log.info("responded", **_log_fields(request, response), ms=round(seconds * 1000, 1))
        return response


@receiver(signals.executed)
def name_the_record(identity: bytes, subject: str, status: int, **_: Any) -> None:
    """Have a request's log line name the record that it made: it may be lost with a backup.

    The identity is a digest of scope and key: it finds the record, and can't be sent. What ran
    without a request (a task, a command) has no line, and no end at which the names would go.
    """
    if "request_id" in structlog.contextvars.get_contextvars():
        made = {"record": identity.hex(), "subject": subject, "stored_status": status}
        structlog.contextvars.bind_contextvars(**made)


def problems_for_the_api(get_response: GetResponse) -> Callable[[HttpRequest], HttpResponseBase]:
    """Turn any HTML error under the API's paths into problem+json: a client parses JSON."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        is_machine = request.path.startswith(_MACHINE)
        if refused := _refused_body(request):
            with translation.override(translation.get_language_from_request(request)):
                return for_status(refused) if is_machine else unreadable(request, refused)
        response = get_response(request)
        is_error = response.status_code >= 400 and is_html(response)
        return _problem_of(response) if is_error and is_machine else response

    return middleware


def cache_headers(get_response: GetResponse) -> GetResponse:
    """State who may store a response: only its browser a page's, nobody the API's.

    A response that calls itself public stays as it is: static files, the catalogue of the API.
    """

    def middleware(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        if "public" in response.get("Cache-Control", ""):
            return response
        patch_vary_headers(response, ("Authorization", "Cookie"))
        if request.path.startswith(_MACHINE):
            patch_cache_control(response, private=True, no_store=True)
        else:
            patch_cache_control(response, private=True)
        return response

    return middleware


def content_security_policy(get_response: GetResponse) -> GetResponse:
    """Let browsers run and show only what this server serves as a file of its own."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        response["Content-Security-Policy"] = settings.CONTENT_SECURITY_POLICY
        return response

    return middleware


def _problem_of(response: HttpResponseBase) -> JsonResponse:
    """Return the problem for an HTML error, with the headers that its status requires."""
    problem = for_status(response.status_code)
    for name in ("Allow", "Retry-After"):
        if name in response:
            problem[name] = response[name]
    return problem


def _refused_body(request: HttpRequest) -> int | None:
    """Return the status that refuses a body unread, for its length or its coding, or None."""
    length = int(request.META.get("CONTENT_LENGTH") or 0)
    if "HTTP_TRANSFER_ENCODING" in request.META:
        return 411
    if length > settings.MAX_BODY_BYTES:
        return 413
    coding = request.META.get("HTTP_CONTENT_ENCODING", "").strip().lower()
    return 415 if length and coding not in {"", "identity"} else None  # RFC 9110, section 8.4


def _key_digest(request: HttpRequest) -> dict[str, str]:
    """Return the digest of this request's key, or the digest that another system of ours sent."""
    if key := request.META.get("HTTP_IDEMPOTENCY_KEY"):
        return {"key_digest": key_digest(key.strip('" '))}
    sent = request.META.get("HTTP_X_KEY_DIGEST", "")
    return {"key_digest": sent} if _KEY_DIGEST.fullmatch(sent) else {}


def _log_fields(request: HttpRequest, response: HttpResponseBase) -> dict[str, Any]:
    """Return what a log may hold of a request: no body, no credential, no key to replay."""
    fields: dict[str, Any] = {
        "method": request.method,
        "path": request.path,
        "status": response.status_code,
        "user": _known_user(request),
    }
    if request.method == "POST":
        fields["replayed"] = response.get("Idempotent-Replayed") == "true"
    return fields


def _known_user(request: HttpRequest) -> Any:
    """Return the user's id if it is loaded already: a log line reads no database."""
    user = getattr(request, "user", None)
    if isinstance(user, LazyObject) and user._wrapped is empty:
        return None
    return getattr(user, "pk", None)
