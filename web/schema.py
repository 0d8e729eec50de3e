"""The OpenAPI schema: what drf-spectacular can't see of an operation by itself.

Every room describes its own operations, with `web.openapi.described`. What they have in common is
derived here: from the views (the idempotency boundary, query parameters, authentication) and from
the catalogue of problems.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from django.conf import settings
from drf_spectacular.openapi import AutoSchema
from rest_framework.serializers import Serializer

from idempotency.problems import CONTENT_TYPE
from web.catalogue import CATALOGUE
from web.openapi import KEY_HEADER, RESPONSE_HEADERS, WAIT_HEADER, Particulars
from web.problems import document
from web.query import StrictQueryView

_OF_BODIES = (
    "malformed-request",
    "validation-error",
    "length-required",
    "body-too-large",
    "unsupported-media-type",
)
_OF_KEYS = tuple(slug for slug in CATALOGUE if slug.startswith("idempotency-key-"))


class Schema(AutoSchema):
    """Completes every operation with its parameters, headers and problems."""

    @property
    def _handler(self) -> Any:
        return getattr(self.view, self.method.lower(), None)

    @property
    def _particulars(self) -> Particulars:
        particulars: Particulars = getattr(self._handler, "particulars", Particulars())
        return particulars

    @property
    def _is_keyed(self) -> bool:
        return getattr(self._handler, "idempotent", False)

    @property
    def _query_serializer(self) -> type[Serializer[Any]] | None:
        """The declaration of a read's query parameters; None: it refuses none."""
        if self.method == "GET" and isinstance(self.view, StrictQueryView):
            return self.view.query_serializer
        return None

    def get_serializer_name(self, serializer: Any, direction: Any) -> str:
        """Return the class's name without `Response`: a client wants an `Order`."""
        return str(super().get_serializer_name(serializer, direction)).removesuffix("Response")

    def get_paginated_name(self, serializer_name: str) -> str:
        return f"{serializer_name}Page"

    def get_override_parameters(self) -> list[Any]:
        if self._is_keyed:
            return [KEY_HEADER, WAIT_HEADER]
        query = self._query_serializer
        return [query] if query and query().fields else []

    def get_operation(self, *args: Any, **kwargs: Any) -> Any:
        operation = super().get_operation(*args, **kwargs)
        if operation is None:
            return None
        operation.setdefault("security", [])  # explicit: it needs no authentication
        for parameter in operation.get("parameters", ()):
            if parameter["name"] == KEY_HEADER.name:
                parameter["example"] = settings.EXAMPLE_KEY
        responses = operation["responses"] | self._problem_responses(operation)
        for status, response in responses.items():
            response["headers"] = self._headers(int(status))
            if links := self._links(int(status)):
                response["links"] = links
        operation["responses"] = dict(sorted(responses.items()))
        return operation

    def _headers(self, status: int) -> dict[str, Any]:
        names = sorted(self._header_names(status))
        return {name: {"$ref": f"#/components/headers/{name}"} for name in names}

    def _links(self, status: int) -> dict[str, Any]:
        links = self._particulars.links.get(status, {})
        return {
            operation_id: {"operationId": operation_id, "parameters": dict(parameters)}
            for operation_id, parameters in links.items()
        }

    def _header_names(self, status: int) -> set[str]:
        names = {"X-Request-Id", *self._particulars.headers.get(status, ())}
        if status == 401:
            names.add("WWW-Authenticate")
        if status in {429, 503} or (status == 409 and self._is_keyed):
            names.add("Retry-After")
        if self._is_keyed and status in {200, 201, 202, 402, 409}:
            names.add("Idempotent-Replayed")
        return names

    def _problem_responses(self, operation: dict[str, Any]) -> dict[str, Any]:
        by_status: defaultdict[int, dict[str, Any]] = defaultdict(dict)
        problems = {**dict(self._common(operation)), **self._particulars.problems}
        for slug, members in problems.items():
            by_status[CATALOGUE[slug].status][slug] = {"value": document(slug, **members)}
        schema = self.resolve_serializer(self._particulars.problem(), "response").ref
        return {
            str(status): {
                "description": " · ".join(example["value"]["title"] for example in of.values()),
                "content": {CONTENT_TYPE: {"schema": schema, "examples": of}},
            }
            for status, of in by_status.items()
        }

    def _common(self, operation: dict[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield the problems that follow from the operation's form."""
        yield "not-acceptable", {}
        outcome = {} if self.method == "GET" else {"outcome": "unknown"}
        yield "temporarily-unavailable", outcome | ({"same_key": True} if self._is_keyed else {})
        slugs = [
            *(("not-authenticated", "permission-denied") if operation["security"] else ()),
            *(("validation-error",) if self._query_serializer else ()),
            *(("not-found",) if "{" in self.path or self._takes(operation, "cursor") else ()),
            *(_OF_BODIES if "requestBody" in operation else ()),
            *(_OF_KEYS if self._is_keyed else ()),
        ]
        yield from ((slug, {}) for slug in slugs)
        if self._is_keyed:
            yield "rate-limited", {"same_key": True}

    @staticmethod
    def _takes(operation: dict[str, Any], name: str) -> bool:
        return any(parameter["name"] == name for parameter in operation.get("parameters", ()))


def complete(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Add the headers that responses refer to (a drf-spectacular hook).

    A link to an operation of the other system, where that is another process, is dropped.
    """
    result["components"]["headers"] = RESPONSE_HEADERS
    operations = [each for path in result["paths"].values() for each in path.values()]
    here = {operation["operationId"] for operation in operations}
    for operation in operations:
        for response in operation["responses"].values():
            if links := response.pop("links", None):
                response["links"] = {name: links[name] for name in links if name in here}
    return result
