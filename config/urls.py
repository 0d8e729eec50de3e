from django.apps import apps
from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path, re_path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from config import health, metrics, problems
from config.sign_in import SignInView

api: list[URLPattern | URLResolver] = [
    path("sign-in/", SignInView.as_view(), name="sign-in"),
    *(path("", include(f"{app}.urls")) for app in ("orders", "payments") if apps.is_installed(app)),
    path("", include("idempotency.urls")),
]

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="docs")),
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("metrics", metrics.scrape),
    path("api/v1/", include(api)),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", SpectacularSwaggerSplitView.as_view(), name="docs"),
    path("problems/<slug:slug>", problems.explain),
    path("admin/", admin.site.urls),
    re_path(r"^api/", problems.unknown_route),
]
