"""This repository's `idempotency`: an app, a decorator."""

from benchmarks.packages.project import charge, configure

configure(
    urls=__name__,
    apps=("idempotency",),
    IDEMPOTENCY={"WAITING_THREADS_MAX": 6},  # of a process's 12
)

from django.urls import path
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from idempotency import idempotent


class ChargeView(APIView):
    @idempotent()
    def post(self, request: Request) -> Response:
        return Response(charge(request), status=201)


urlpatterns = [path("charges/", ChargeView.as_view())]
