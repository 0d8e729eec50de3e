"""Lists of the API whose rows are made without a serializer, which takes ten times as long."""

from datetime import UTC, datetime
from typing import Any

from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response


class RowsView(ListAPIView[Any]):
    """A list whose rows are made by `row`; its serializer describes them to OpenAPI."""

    def row(self, found: Any) -> dict[str, Any]:
        """Return an object of the list, as a response shows it."""
        raise NotImplementedError

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Return a page of rows."""
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        return self.get_paginated_response([self.row(found) for found in page or ()])


def moment(at: datetime) -> str:
    """Return a time as responses show it: ISO 8601, in UTC."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
