"""The OpenAPI schema, and the page that shows it."""

from typing import TYPE_CHECKING, Any

from django.http import JsonResponse
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.views import APIView

from idempotency.problems import CONTENT_TYPE
from web.query import StrictQueryView

if TYPE_CHECKING:
    Base = APIView
else:
    Base = object


class ProblemsInJson(Base):
    """For views that render something else: their errors are JSON all the same."""

    def handle_exception(self, exc: Exception) -> Any:
        """Return the problem of an error, which no renderer of the view takes part in."""
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
