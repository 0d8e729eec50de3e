"""drf-idempotencykey: an app, a mixin before the view's base class; PostgreSQL."""

from benchmarks.packages.project import CONFIGURATION, charge, configure

configure(
    urls=__name__,
    apps=("drf_idempotencykey",),
    IDEMPOTENCY_KEY_EXPIRATION_MINUTES=60,
    ATOMIC_REQUESTS=CONFIGURATION == "ATOMIC_REQUESTS",
)

from django.urls import path
from drf_idempotencykey.mixins import DrfIdempotencyKeyMixin
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView


class ChargeView(DrfIdempotencyKeyMixin, APIView):
    def post(self, request: Request) -> Response:
        return Response(charge(request), status=201)


urlpatterns = [path("charges/", ChargeView.as_view())]
