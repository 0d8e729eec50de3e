"""The OpenAPI schema, and the page that shows it."""

from typing import TYPE_CHECKING

from django.http import JsonResponse
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.views import APIView

from idempotency.problems import CONTENT_TYPE
from web.query import StrictQueryView

Base = APIView if TYPE_CHECKING else object


class ProblemsInJson(Base):
    """For views that render something else: their errors are JSON all the same."""

    def handle_exception(self, exc: Exception) -> JsonResponse:  # type: ignore[override]
        problem = super().handle_exception(exc)
        response = JsonResponse(problem.data, status=problem.status_code, content_type=CONTENT_TYPE)
        for name, value in problem.items():
            response.headers.setdefault(name, value)
        return response


class SchemaView(ProblemsInJson, StrictQueryView, SpectacularAPIView):
    """The schema in the language of the Accept-Language header; no query parameter changes it.

    Those of drf-spectacular would: `version` ends in a header, and each new `lang` loads all
    translations once more and keeps them.
    """

    http_method_names = ("get", "head")


class DocsView(ProblemsInJson, SpectacularSwaggerSplitView):
    """The schema as a page."""

    http_method_names = ("get", "head")
    template_name = "docs.html"
