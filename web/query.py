"""How the API reads query strings: a parameter that a view doesn't declare is an error."""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.views import APIView


class MomentField(serializers.DateTimeField):
    """A date and time in ISO 8601 whose offset from UTC is given, not guessed."""

    default_error_messages = {
        "invalid": gettext_lazy(
            "A date and time with its offset from UTC, such as 2026-01-02T03:04:05Z."
        )
    }

    def enforce_timezone(self, value: datetime) -> datetime:
        if value.tzinfo is None:
            self.fail("invalid")
        return super().enforce_timezone(value)


class NoParameters(serializers.Serializer[Any]):
    """The query parameters of a view that takes none, but for those of its pages."""


class StrictQueryView(APIView):
    """A view whose reads refuse an unknown query parameter with 400 instead of ignoring it.

    The parameters are those of `query_serializer` and, for a list, of its paginator. The OpenAPI
    schema documents them from the same declaration. `query` holds the valid values.
    """

    query_serializer: type[serializers.Serializer[Any]] = NoParameters
    query: Mapping[str, Any] = MappingProxyType({})

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if request.method in {"GET", "HEAD"}:
            self.query = self._read_query(request)

    def _read_query(self, request: Request) -> Mapping[str, Any]:
        query = self.query_serializer(data=request.query_params.dict())
        query.is_valid()
        if errors := {**query.errors, **self._misplaced(request)}:
            raise ValidationError(errors)
        valid: Mapping[str, Any] = query.validated_data
        return valid

    def _misplaced(self, request: Request) -> dict[str, list[str]]:
        """Return an error for each parameter that is unknown, or given more than once."""
        paginator = getattr(self, "paginator", None)
        paging = paginator.get_schema_operation_parameters(self) if paginator else []
        known = {*self.query_serializer().fields, *(parameter["name"] for parameter in paging)}
        errors = {}
        for name, values in request.query_params.lists():
            if name not in known:
                errors[name] = [_("There is no such query parameter.")]
            elif len(values) > 1:
                errors[name] = [_("Give this parameter once.")]
        return errors
