from django.contrib import admin
from django.urls import include, path

from idempotency.tests.views import ChargeView, StatusView

urlpatterns = [
    path("accounts/<int:account_id>/charges/", ChargeView.as_view()),
    path("status/<int:status>/", StatusView.as_view()),
    path("", include("idempotency.urls")),
    path("admin/", admin.site.urls),
]
