"""How the API reads bodies and pages lists, where DRF's own way would end in a 500."""

from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from rest_framework import parsers
from rest_framework.exceptions import APIException, NotFound, ParseError
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request


class BodyTooLarge(APIException):
    """The body is larger than this API reads."""

    status_code = 413
    default_detail = f"The request's body is over {settings.MAX_BODY_BYTES} bytes."
    default_code = "body-too-large"


class JSONParser(parsers.JSONParser):
    """JSON of a bounded size and depth."""

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        request: Request = parser_context["request"]
        if int(request.META.get("CONTENT_LENGTH") or 0) > settings.MAX_BODY_BYTES:
            raise BodyTooLarge
        try:
            return super().parse(stream, media_type, parser_context)
        except RecursionError as error:
            raise ParseError("JSON parse error - nested too deeply") from error


class Pagination(CursorPagination):
    """Cursor pagination by the view's `ordering`: stable while rows are added, no counting."""

    page_size = 50
    max_page_size = 200
    page_size_query_param = "page_size"

    def get_ordering(self, request: Request, queryset: QuerySet[Any], view: Any) -> tuple[str, ...]:
        return (view.ordering,)

    def paginate_queryset(
        self, queryset: Any, request: Request, view: Any = None
    ) -> list[Any] | None:
        try:
            return super().paginate_queryset(queryset, request, view)
        except (ValidationError, ValueError) as error:  # a cursor made up by the client
            raise NotFound(self.invalid_cursor_message) from error
