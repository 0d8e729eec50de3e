from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from idempotency import tokens
from idempotency.keys import caller_of
from idempotency.serializers import SingleUseTokenResponse


class TokenView(APIView):
    """Single-use tokens: one serves as the Idempotency-Key of one request."""

    permission_classes = (IsAuthenticated,)

    def post(self, request: Request) -> Response:
        """Issue a token. A retry issues another one: an unused token has no effect."""
        token, expires_at = tokens.issue(caller_of(request))
        issued = SingleUseTokenResponse({"token": token, "expires_at": expires_at})
        return Response(issued.data, 201, headers={"Cache-Control": "no-store"})
