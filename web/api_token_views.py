"""The API of one's own API tokens: list them, revoke one."""

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema_view
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.generics import ListAPIView
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from web import api_tokens
from web.models import ApiToken
from web.openapi import Particulars, described
from web.query import StrictQueryView


class ApiTokenEntry(serializers.ModelSerializer[ApiToken]):
    """A token as a list shows it: never its text, which nobody knows but its owner."""

    class Meta:
        model = ApiToken
        fields = ("id", "name", "created_at", "expires_at", "last_used_at")
        read_only_fields = fields


_ENTRY = {
    "id": 7,
    "name": "phone",
    "created_at": "2026-01-02T03:04:05Z",
    "expires_at": "2026-04-02T03:04:05Z",
    "last_used_at": "2026-01-02T04:05:06Z",
}
list_api_tokens = described(
    Particulars(),
    operation_id="list_api_tokens",
    summary="List one's own API tokens",
    tags=["sign-in"],
    responses={
        200: OpenApiResponse(
            ApiTokenEntry(many=True),
            description="Those that have not expired, newest first",
            examples=[OpenApiExample("a token", _ENTRY)],
        )
    },
)
revoke_api_token = described(
    Particulars(),
    operation_id="revoke_api_token",
    summary="Revoke one of one's own API tokens",
    tags=["sign-in"],
    responses={204: OpenApiResponse(description="Revoked")},
)


@extend_schema_view(get=list_api_tokens)
class ApiTokensView(StrictQueryView, ListAPIView[ApiToken]):
    """One's own API tokens, of signing in on devices and for programs."""

    permission_classes = (IsAuthenticated,)
    serializer_class = ApiTokenEntry
    ordering = "-id"

    def get_queryset(self) -> QuerySet[ApiToken]:
        if not self.request.user.is_authenticated:
            return ApiToken.objects.none()
        return api_tokens.tokens_of(self.request.user)


class ApiTokenView(APIView):
    """One of one's own API tokens."""

    permission_classes = (IsAuthenticated,)

    @revoke_api_token
    def delete(self, request: Request, id: int) -> Response:
        """Revoke a token, also the one in use: from now on it gets 401. A retry gets 404."""
        if not api_tokens.revoke(request.user, id):
            raise NotFound
        return Response(status=204)
