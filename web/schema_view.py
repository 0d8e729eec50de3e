"""The OpenAPI schema, and the page that shows it."""

from threading import Lock
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.http import HttpResponse, JsonResponse
from django.utils import translation
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.request import Request
from rest_framework.views import APIView

from idempotency.problems import CONTENT_TYPE
from web.query import StrictQueryView

if TYPE_CHECKING:
    Base = APIView
else:
    Base = object


_making = Lock()
_made: dict[tuple[str, str], HttpResponse] = {}


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
    translations once more and keeps them. A process makes each form of it once, as that takes a
    fifth of a second and anybody may ask; one thread at a time, as drf-spectacular's first run is
    not safe in two.
    """

    http_method_names = ("get", "head")

    @extend_schema(exclude=True)
    def get(self, request: Request, *args: Any, **kwargs: Any) -> HttpResponse:
        """Return the schema; a repeated call gets the same one."""
        form = (request.accepted_renderer.media_type, translation.get_language() or "")
        with _making:
            if form not in _made:
                _made[form] = self._rendered(request)
        made = _made[form]
        return HttpResponse(made.content, headers=dict(made.items()))

    def _rendered(self, request: Request) -> HttpResponse:
        document: Any = self._get_schema_response(request)  # type: ignore[no-untyped-call]
        rendered: HttpResponse = self.finalize_response(request, document).render()
        return rendered


class DocsView(ProblemsInJson, SpectacularSwaggerSplitView):
    """The schema as a page."""

    http_method_names = ("get", "head")
    template_name = "docs.html"

    @extend_schema(exclude=True)
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Any:
        """Return the page; in the demo with a button that signs in."""
        response = super().get(request, *args, **kwargs)  # type: ignore[no-untyped-call]
        if settings.DEMO_SIGN_IN and isinstance(response.data, dict):
            response.data["demo"] = {"username": "alice", "password": settings.PUBLIC_PASSWORD}
        return response
