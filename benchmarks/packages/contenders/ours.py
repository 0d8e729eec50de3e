"""This repository's `idempotency`: an app, a decorator; and with its token authentication."""

from typing import Any

from benchmarks.packages.project import CONFIGURATION, charge, configure

TOKENS = {"authentication": "idempotency.drf_tokens.TokenAuthentication"}
added: dict[str, Any] = TOKENS if CONFIGURATION == "its tokens" else {}

configure(
    urls=__name__,
    apps=("idempotency",),
    IDEMPOTENCY={"WAITING_THREADS_MAX": 6},  # of a process's 12
    **added,
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
