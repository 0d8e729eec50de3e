from django.urls import path

from idempotency.views import TokenView

urlpatterns = [path("tokens/", TokenView.as_view(), name="tokens")]
