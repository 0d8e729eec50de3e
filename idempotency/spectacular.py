"""drf-spectacular: what the boundary adds to an operation.

SPECTACULAR_SETTINGS = {"POSTPROCESSING_HOOKS": [..., "idempotency.spectacular.document"]}
REST_FRAMEWORK = {"DEFAULT_SCHEMA_CLASS": "idempotency.spectacular.Schema"}
"""

from typing import Any

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter

from idempotency import errors
from idempotency.conf import conf
from idempotency.problems import CONTENT_TYPE

WAIT_HEADER = OpenApiParameter(
    "Prefer",
    str,
    OpenApiParameter.HEADER,
    description="`wait=N`: how many seconds a duplicate may wait for the first response.",
)
REFUSALS = (errors.KeyInUse, errors.KeyExpired, errors.KeyReused, errors.ExecutionsLimited)


def key_header(*, required: bool) -> OpenApiParameter:
    """Return the header that carries the key."""
    return OpenApiParameter(
        conf().KEY_HEADER,
        {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!#-~][!-~]*$"},
        OpenApiParameter.HEADER,
        required=required,
        description="Names this request: every retry with the same key gets the first response.",
    )


class Schema(AutoSchema):
    """Adds the boundary's headers to the operations that wear it."""

    def get_override_parameters(self) -> list[Any]:
        handler = _decorated(self.view, self.method)
        if handler is None:
            return []
        replayed = OpenApiParameter(
            conf().REPLAYED_HEADER,
            {"type": "string", "enum": ["true"]},
            OpenApiParameter.HEADER,
            response=True,
            description="Present on a replay of the first response.",
        )
        return [key_header(required=handler.key_required), WAIT_HEADER, replayed]


def _decorated(view: Any, method: str) -> Any:
    """Return what is decorated of a view: a method, an action, a function below @api_view."""
    handler = getattr(view, getattr(view, "action", None) or method.lower(), None)
    cells = getattr(handler, "__closure__", None) or ()  # @api_view keeps its function there
    candidates = (handler, *(cell.cell_contents for cell in cells))
    return next((each for each in candidates if getattr(each, "idempotent", False)), None)


def document(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Add the refusals of the boundary to its operations (a drf-spectacular hook)."""
    for operations in result["paths"].values():
        for operation in operations.values():
            names = {parameter["name"] for parameter in operation.get("parameters", ())}
            if conf().KEY_HEADER in names:
                for refusal in REFUSALS:
                    if refusal is errors.ExecutionsLimited and conf().EXECUTION_RATE is None:
                        continue
                    operation["responses"].setdefault(
                        str(refusal.status),
                        {"description": str(refusal.title), "content": {CONTENT_TYPE: {}}},
                    )
    return result
