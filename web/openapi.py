"""How an operation is described for OpenAPI, and the parts that all operations share.

The parts: headers, the form of a problem, the security schemes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension, OpenApiViewExtension
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    OpenApiResponse,
    extend_schema,
    extend_schema_field,
    extend_schema_view,
)
from rest_framework import serializers

from idempotency.drf_views import SingleUseTokenResponse

Handler = TypeVar("Handler", bound=Callable[..., Any])
Examples = Mapping[str, Mapping[str, Any]]

KEY_HEADER = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!#-~][!-~]*$"},
    OpenApiParameter.HEADER,
    required=True,
    description="Names this request: every retry with the same key gets the first response.",
)
WAIT_HEADER = OpenApiParameter(
    "Prefer",
    str,
    OpenApiParameter.HEADER,
    description="`wait=N`: how many seconds a retry may wait for the first response (5; 0 to 30).",
)
# The components that responses refer to by name.
RESPONSE_HEADERS: dict[str, dict[str, Any]] = {
    "X-Request-Id": {
        "description": "The id of this request in the logs: the one that the client sent in the "
        "header of the same name, or a new one.",
        "required": True,
        "schema": {"type": "string", "minLength": 1, "maxLength": 128},
    },
    "Location": {
        "description": "The address of what the request made, or acts on.",
        "schema": {"type": "string", "format": "uri-reference"},
    },
    "Retry-After": {
        "description": "After how many seconds to retry.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "Idempotent-Replayed": {
        "description": "Present where the response is the first one's replay.",
        "schema": {"type": "string", "enum": ["true"]},
    },
    "WWW-Authenticate": {
        "description": "How to authenticate.",
        "schema": {"type": "string"},
    },
}


@extend_schema_field({"type": "string", "format": "uri-reference"})
class _ReferenceField(serializers.CharField):
    pass


class ProblemErrorResponse(serializers.Serializer[Any]):
    pointer = serializers.CharField(
        allow_blank=True, help_text="a JSON pointer to the member, or to the query parameter"
    )
    detail = serializers.CharField()


class ProblemResponse(serializers.Serializer[Any]):
    """Problem details (RFC 9457)."""

    type = _ReferenceField()
    title = serializers.CharField()
    status = serializers.IntegerField(min_value=400, max_value=599)
    detail = serializers.CharField()
    outcome = serializers.ChoiceField(
        choices=["none", "done", "unknown"],
        help_text="none: nothing happened; done: it happened, earlier or now; unknown",
    )
    retryable = serializers.BooleanField()
    same_key = serializers.BooleanField(
        required=False, help_text="whether to retry with the same Idempotency-Key"
    )
    errors = ProblemErrorResponse(many=True, required=False)  # type: ignore[assignment]  # a field


@dataclass(frozen=True, kw_only=True)
class Particulars:
    """What nothing in an operation's form announces.

    :param problems: more problems that it may respond with, each with members of its example
    :param problem: what describes its problems, where they have members of their own
    :param headers: by status, the names of headers of the response
    :param links: by status, the operations that take something of the response, by their id: for
        each, where in the response (an OpenAPI run-time expression) each parameter stands
    """

    problems: Examples = field(default_factory=dict)
    problem: type[serializers.Serializer[Any]] = ProblemResponse
    headers: Mapping[int, Sequence[str]] = field(default_factory=dict)
    links: Mapping[int, Mapping[str, Mapping[str, str]]] = field(default_factory=dict)


def described(particulars: Particulars, /, **operation: Any) -> Callable[[Handler], Handler]:
    """Describe a view's method: as `extend_schema` does, and with the particulars."""

    def describe(handler: Handler) -> Handler:
        handler.particulars = particulars  # type: ignore[attr-defined]
        return extend_schema(**operation)(handler)

    return describe


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "web.authentication.ApiTokenAuthentication"
    name = "apiToken"
    priority = 1

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        return {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": "The word `Token`, a space, and the token from `POST sign-in/`; on the "
            "documentation's page the bare token will do.",
        }


class SessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "rest_framework.authentication.SessionAuthentication"
    name = "session"
    priority = 1

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        return {
            "type": "apiKey",
            "in": "cookie",
            "name": settings.SESSION_COOKIE_NAME,
            "description": "The session of the pages. Anything but a read also needs the CSRF "
            "token, in the header `X-CSRFToken`.",
        }


class TokenSchema(OpenApiViewExtension):  # type: ignore[no-untyped-call]
    """The token view's description; it stands here so that its app needs no OpenAPI library."""

    target_class = "idempotency.drf_views.TokenView"

    def view_replacement(self) -> Any:
        issued = OpenApiResponse(
            SingleUseTokenResponse,
            description="The token",
            examples=[OpenApiExample("issued", _TOKEN)],
        )
        describe = described(
            Particulars(
                problems={"rate-limited": {}},
                links={201: {"inquire_key": {"key": "$response.body#/token"}}},
            ),
            operation_id="issue_token",
            summary="Issue a single-use token",
            tags=["tokens"],
            request=None,
            responses={201: issued},
        )
        return extend_schema_view(post=describe)(self.target)


_TOKEN = {
    "token": "tok_019b7d2f1a2c_2kVv3nq0p1o6yX9sQeHh5r8cJ4uZtLwAaBbCcDdEeFf",
    "expires_at": "2026-01-02T03:34:05Z",
}
