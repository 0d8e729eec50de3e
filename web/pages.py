"""What every page shows around its content, and the error pages."""

from collections.abc import Callable
from typing import Any

import structlog
from django.apps import apps
from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db import Error
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render

from idempotency.database_errors import is_temporary, sqlstate
from web.problems import RETRY_AFTER_SECONDS

log = structlog.get_logger("pages")


def navigation(request: HttpRequest) -> dict[str, Any]:
    """Return which parts of the site this process has, for the navigation of the templates."""
    return {"has_shop": apps.is_installed("shop"), "has_lab": settings.LAB_ENABLED}


class ErrorPages:
    """Shows an error page if the database is down or busy; the API has problems for that.

    In development it replaces Django's own 404 page, which is for programmers.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if settings.DEBUG and response.status_code == 404 and is_html(response):
            return not_found(request, Http404())
        return response

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Return 503 if a view couldn't reach the database; leave any other failure to Django."""
        if not (isinstance(error, Error) and is_temporary(error)):
            return None
        log.warning("database unavailable", sqlstate=sqlstate(error), error=str(error).strip())
        return _without_database(request, 503, retry_after=RETRY_AFTER_SECONDS)


def is_html(response: HttpResponseBase) -> bool:
    return response.get("Content-Type", "").startswith("text/html")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Return 400 for a request that can't be read; Django's handler400."""
    return unreadable(request, 400)


def unreadable(request: HttpRequest, status: int) -> HttpResponse:
    """Return the page about a form that is too long, or of unknown length."""
    return _without_database(request, status)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Return 404 for an unknown address; Django's handler404."""
    try:
        str(request.user)  # the page's head shows the user
    except Error:
        return _without_database(request, 404)
    return error_page(request, 404)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Return 403 for a form that was loaded before its user signed in or out; CSRF_FAILURE_VIEW."""
    return error_page(request, 403)


def server_error(request: HttpRequest) -> HttpResponse:
    """Return 500 for a bug; Django's handler500."""
    return _without_database(request, 500)


def error_page(
    request: HttpRequest, status: int, *, retry_after: int | None = None
) -> HttpResponse:
    """Return the page that says what went wrong, and that a retry is harmless."""
    context = {"status": status, "seconds": retry_after}
    response = render(request, "error.html", context, status=status)
    if retry_after is not None:
        response["Retry-After"] = str(retry_after)
    return response


def _without_database(
    request: HttpRequest, status: int, *, retry_after: int | None = None
) -> HttpResponse:
    request.user = AnonymousUser()  # the database would have to be read for the real one
    return error_page(request, status, retry_after=retry_after)
