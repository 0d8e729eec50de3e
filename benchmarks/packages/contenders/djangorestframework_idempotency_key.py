"""djangorestframework-idempotency-key: an app, a middleware, a decorator; PostgreSQL."""

from benchmarks.packages.project import LEASE_SECONDS, charge, configure

configure(
    urls=__name__,
    apps=("rest_framework_idempotency_key",),
    middleware=("rest_framework_idempotency_key.middleware.IdempotencyKeyMiddleware",),
    IDEMPOTENCY_KEY_LOCK_TIMEOUT=LEASE_SECONDS,
)

from django.urls import path
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework_idempotency_key.decorators import simple_idempotency_key_method


class ChargeView(APIView):
    @simple_idempotency_key_method
    def post(self, request: Request) -> Response:
        return Response(charge(request), status=201)


urlpatterns = [path("charges/", ChargeView.as_view())]
