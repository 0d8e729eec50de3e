"""The OpenAPI document over HTTP."""

from threading import Lock
from typing import Any

from django.conf import settings
from django.http import HttpResponse
from django.utils import translation
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularAPIView
from rest_framework.request import Request

_making = Lock()
_made: dict[tuple[str, str], HttpResponse] = {}


class SchemaView(SpectacularAPIView):
    """Returns the OpenAPI document, as YAML or JSON, in the language of `?lang=` or the request.

    A process makes each form of it once: that costs a fifth of a second, and anybody may ask. One
    at a time, as drf-spectacular's first run is not safe in two threads.
    """

    @extend_schema(exclude=True)
    def get(self, request: Request, *args: Any, **kwargs: Any) -> HttpResponse:
        """Return the document; a repeated call gets the same one."""
        wanted = request.GET.get("lang")
        language = wanted if wanted in dict(settings.LANGUAGES) else translation.get_language()
        form = (request.accepted_renderer.media_type, language or settings.LANGUAGE_CODE)
        with _making, translation.override(form[1]):
            if form not in _made:
                _made[form] = self._rendered(request)
        made = _made[form]
        return HttpResponse(made.content, headers=dict(made.items()))

    def _rendered(self, request: Request) -> HttpResponse:
        document: Any = self._get_schema_response(request)  # type: ignore[no-untyped-call]
        rendered: HttpResponse = self.finalize_response(request, document).render()
        return rendered

    def _get_version_parameter(self, request: Request) -> None:
        """Return none: a client's `?version=` would go into everybody's document."""
