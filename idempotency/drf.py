"""Django REST framework: views of any kind, and an exception handler that gives RFC 9457.

`REST_FRAMEWORK = {"EXCEPTION_HANDLER": "idempotency.drf.exception_handler"}`, or call it from one's
own. With DRF's own handler a refusal is a plain DRF error, with its status and `Retry-After`.
"""

from typing import Any

from django.http import HttpResponse
from rest_framework.exceptions import APIException
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import exception_handler as drf_exception_handler

from idempotency import errors, problems, stored


class Refused(APIException):
    """A refusal of the boundary, as DRF's handlers expect an error.

    :ivar refusal: which one
    """

    def __init__(self, refusal: errors.Refusal) -> None:
        super().__init__(str(refusal.detail), code=refusal.slug)
        self.status_code = refusal.status
        self.refusal = refusal
        if refusal.retry_after is not None:
            self.wait = refusal.retry_after  # DRF makes Retry-After of it


class RestAdapter:
    """A method of an APIView or a ViewSet, or a function under `@api_view`."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.http = request._request

    def body(self) -> Any:
        """Return the body as the view's parser reads it; a ParseError is DRF's 400."""
        return self.request.data

    def rendered(self, response: Any) -> HttpResponse:
        """Render inside the transaction: what is stored is what is sent."""
        view = self.request.parser_context["view"]
        return stored.rendered(view.finalize_response(self.request, response))

    def refused(self, refusal: errors.Refusal) -> HttpResponse:
        raise Refused(refusal) from refusal


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """Respond to a refusal with a problem document, and to anything else as DRF does."""
    if not isinstance(error, Refused):
        return drf_exception_handler(error, context)
    return Response(
        problems.document(error.refusal),
        error.refusal.status,
        headers=problems.headers(error.refusal),
        content_type=problems.CONTENT_TYPE,
    )
