"""`path("", include("idempotency.urls"))`: tokens and inquiry, with DRF's authentication."""

from django.urls import path

from idempotency.drf_views import KeyView, TokenView

urlpatterns = [
    path("tokens/", TokenView.as_view(), name="tokens"),
    path("keys/<path:key>/", KeyView.as_view(), name="key"),
]
