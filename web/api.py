"""How the API reads bodies and pages lists, where DRF's own way would end in a 500."""

from typing import Any

from django.core.exceptions import ValidationError
from django.db import DataError
from django.db.models import QuerySet
from django.utils.translation import gettext as _
from rest_framework import parsers
from rest_framework.exceptions import NotFound, ParseError
from rest_framework.exceptions import ValidationError as BadPageSize
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request

MAX_PAGE_SIZE = 200


class JSONParser(parsers.JSONParser):
    """JSON of a bounded depth; `web.middleware` bounds its size."""

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        try:
            return super().parse(stream, media_type, parser_context)
        except RecursionError as error:
            raise ParseError("JSON parse error - nested too deeply") from error


class Pagination(CursorPagination):
    """Cursor pagination by the view's `ordering`: stable while rows are added, no counting."""

    page_size = 50
    max_page_size = MAX_PAGE_SIZE
    page_size_query_param = "page_size"

    def get_ordering(self, request: Request, queryset: QuerySet[Any], view: Any) -> tuple[str, ...]:
        return (view.ordering,)

    def get_page_size(self, request: Request) -> int:
        """Return how many rows a page holds; refuse what is no number of rows."""
        given = request.query_params.getlist("page_size") or [str(self.page_size)]
        if len(given) > 1 or not given[0].isdecimal() or not 1 <= int(given[0]) <= MAX_PAGE_SIZE:
            said = _("A number from 1 to %(maximum)d.") % {"maximum": MAX_PAGE_SIZE}
            raise BadPageSize({"page_size": [said]})
        return int(given[0])

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        """Describe the parameters to OpenAPI."""
        parameters = super().get_schema_operation_parameters(view)
        for parameter in parameters:
            if parameter["name"] == "page_size":
                parameter["schema"] = {"type": "integer", "minimum": 1, "maximum": MAX_PAGE_SIZE}
        return parameters

    def paginate_queryset(
        self, queryset: Any, request: Request, view: Any = None
    ) -> list[Any] | None:
        try:
            return super().paginate_queryset(queryset, request, view)
        except (ValidationError, ValueError, DataError) as error:  # a cursor made up by the client
            raise NotFound(self.invalid_cursor_message) from error
