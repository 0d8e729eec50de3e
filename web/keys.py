"""What became of one's own Idempotency-Key: the app's inquiry, as this API describes it."""

from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema_view

from idempotency import drf_views
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
            drf_views.KeyStatusResponse,
            description="The key was used",
            examples=[OpenApiExample("completed", _COMPLETED)],
        )
    },
)


@extend_schema_view(get=inquire_key)
class KeyView(StrictQueryView, drf_views.KeyView):
    """The app's inquiry, which refuses unknown query parameters as all reads here do."""
