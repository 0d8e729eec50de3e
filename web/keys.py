"""What became of one's own Idempotency-Key: the app's inquiry, as this API describes it."""

from django.http import Http404
from drf_spectacular.utils import OpenApiExample, OpenApiResponse
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from idempotency import scope_of
from idempotency.drf_views import KeyStatusResponse
from idempotency.views import state_of
from web.openapi import Particulars, described
from web.query import StrictQueryView

_COMPLETED = {"state": "completed", "status": 200, "completed_at": "2026-01-02T03:04:05Z"}

inquire_key = described(
    Particulars(problems={"idempotency-key-invalid": {}}),
    operation_id="inquire_key",
    summary="Look up what became of a key",
    tags=["tokens"],
    responses={
        200: OpenApiResponse(
            KeyStatusResponse,
            description="The key was used",
            examples=[OpenApiExample("completed", _COMPLETED)],
        )
    },
)


class KeyView(StrictQueryView):
    permission_classes = (IsAuthenticated,)

    @inquire_key
    def get(self, request: Request, key: str) -> Response:
        """Return whether a key is in flight, completed or expired; 404 where it was never used.

        It executes nothing, and shows nobody else's keys.
        """
        state = state_of(scope_of(request), key)
        if state is None:
            raise Http404
        return Response(state, headers={"Cache-Control": "no-store"})
