"""The OpenAPI schema, and the page that shows it."""

from django.http import JsonResponse
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from idempotency.problems import CONTENT_TYPE
from web.query import StrictQueryView


class SchemaView(StrictQueryView, SpectacularAPIView):
    """The schema in the language of the Accept-Language header; no query parameter changes it.

    Those of drf-spectacular would: `version` ends in a header, and each new `lang` loads all
    translations once more and keeps them.
    """


class DocsView(SpectacularSwaggerSplitView):
    """The schema as a page; its errors are problems, which its HTML templates can't render."""

    http_method_names = ("get", "head")
    template_name = "docs.html"

    def handle_exception(self, exc: Exception) -> JsonResponse:  # type: ignore[override]
        """Return the problem as JSON, whatever the page is rendered with."""
        problem = super().handle_exception(exc)
        headers = dict(problem.items())
        return JsonResponse(
            problem.data, status=problem.status_code, content_type=CONTENT_TYPE, headers=headers
        )
