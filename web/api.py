"""How the API reads bodies and headers and pages lists, where DRF's own way ends in a 500."""

import functools
from types import SimpleNamespace
from typing import Any

from django.core.exceptions import ValidationError
from django.db import DataError
from django.db.models import QuerySet
from django.utils.translation import gettext as _
from rest_framework import parsers, serializers
from rest_framework.exceptions import NotFound, ParseError
from rest_framework.exceptions import ValidationError as ParameterError
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request

PAGE_SIZE_MAX = 200


def valid(serializer: type[serializers.Serializer[Any]], body: Any) -> Any:
    """Return the values of a request's body, read by an instance that is made once a process.

    Making one copies all of its fields, which takes longer than reading a body.

    :raises ValidationError: with the errors that the serializer has for it
    """
    try:
        return _reader(serializer).run_validation(body)
    except ParameterError:
        serializer(data=body).is_valid(raise_exception=True)
        raise


@functools.cache
def _reader(serializer: type[serializers.Serializer[Any]]) -> serializers.Serializer[Any]:
    return serializer()


class JSONParser(parsers.JSONParser):
    """JSON of a bounded depth; `web.middleware` bounds its size."""

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        try:
            return super().parse(stream, media_type, parser_context)
        except RecursionError as error:
            raise ParseError("JSON parse error - nested too deeply") from error


class ByAcceptHeader(DefaultContentNegotiation):
    """Negotiation by the Accept header alone: `format` is no parameter of this API."""

    settings: Any = SimpleNamespace(URL_FORMAT_OVERRIDE=None)

    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: Any = None
    ) -> tuple[Any, str]:
        """Choose a renderer; what the client wrote after the media type does not reach it.

        DRF would put those parameters together anew, and parse them again after the view, where an
        error is a 500. Without them a response has one form, whoever sends the retry.
        """
        if request.META.get("HTTP_ACCEPT", "*/*") == "*/*":  # most clients: nothing to compare
            return renderers[0], renderers[0].media_type
        renderer, _accepted = super().select_renderer(request, renderers, format_suffix)
        return renderer, renderer.media_type


class Pagination(CursorPagination):
    """Cursor pagination by the view's `ordering`: stable while rows are added, no counting."""

    page_size = 50
    max_page_size = PAGE_SIZE_MAX
    page_size_query_param = "page_size"
    cursor_query_description = "Where a page begins: from `next` or `previous`."
    page_size_query_description = f"How many results a page holds; {page_size} by default."

    def get_ordering(self, request: Request, queryset: QuerySet[Any], view: Any) -> tuple[str, ...]:
        return (view.ordering,)

    def get_page_size(self, request: Request) -> int:
        """Return how many rows a page holds; refuse what is no number of rows."""
        given = request.query_params.get("page_size", str(self.page_size))
        if not given.isdecimal() or not 1 <= int(given) <= PAGE_SIZE_MAX:
            message = _("A number from 1 to %(maximum)d.") % {"maximum": PAGE_SIZE_MAX}
            raise ParameterError({"page_size": [message]})
        return int(given)

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        """Describe the parameters to OpenAPI."""
        parameters = super().get_schema_operation_parameters(view)
        for parameter in parameters:
            if parameter["name"] == "page_size":
                parameter["schema"] = {"type": "integer", "minimum": 1, "maximum": PAGE_SIZE_MAX}
        return parameters

    def get_paginated_response_schema(self, schema: Any) -> dict[str, Any]:
        """Describe a page to OpenAPI; the examples of its members complete those of the rows."""
        link = {"type": ["string", "null"], "format": "uri"}
        properties = {
            "next": link | {"example": None, "description": "the page of the older rows"},
            "previous": link | {"example": None, "description": "the page before this one"},
            "results": schema,
        }
        return {"type": "object", "required": list(properties), "properties": properties}

    def paginate_queryset(
        self, queryset: Any, request: Request, view: Any = None
    ) -> list[Any] | None:
        try:
            return super().paginate_queryset(queryset, request, view)
        except (ValidationError, ValueError, DataError) as error:  # a cursor made up by the client
            raise NotFound(self.invalid_cursor_message) from error
