"""Ready-made views for Django REST framework, with its authentication: tokens, and inquiry."""

from django.http import Http404
from rest_framework import serializers
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from idempotency import errors, tokens
from idempotency.drf import Refused
from idempotency.scope import scope_of
from idempotency.views import state_of


class SingleUseTokenResponse(serializers.Serializer[dict[str, object]]):
    token = serializers.CharField()
    expires_at = serializers.DateTimeField()


class KeyStatusResponse(serializers.Serializer[dict[str, object]]):
    state = serializers.ChoiceField(choices=["in_flight", "completed", "expired"])
    status = serializers.IntegerField(required=False, help_text="of the stored response")
    completed_at = serializers.DateTimeField(required=False)


class TokenView(APIView):
    """Single-use tokens: one serves as the Idempotency-Key of one request."""

    permission_classes = (IsAuthenticated,)

    def post(self, request: Request) -> Response:
        """Issue a token. A repeated request issues another one: an unused token has no effect."""
        try:
            token, expires_at = tokens.issue(scope_of(request))
        except errors.Refusal as refusal:
            raise Refused(refusal) from refusal
        issued = SingleUseTokenResponse({"token": token, "expires_at": expires_at})
        return Response(issued.data, 201, headers={"Cache-Control": "no-store"})


class KeyView(APIView):
    """What became of one's own key; executes nothing."""

    permission_classes = (IsAuthenticated,)

    def get(self, request: Request, key: str) -> Response:
        """Return whether a key is in flight, completed or expired; 404 where it was never used.

        It executes nothing, and shows nobody else's keys.
        """
        try:
            state = state_of(scope_of(request), key)
        except errors.Refusal as refusal:
            raise Refused(refusal) from refusal
        if state is None:
            raise Http404
        return Response(state, headers={"Cache-Control": "no-store"})
