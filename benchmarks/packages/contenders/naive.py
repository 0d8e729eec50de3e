"""No package: the view as it is before anybody protects it."""

from benchmarks.packages.project import charge, configure

configure(urls=__name__)

from django.urls import path
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView


class ChargeView(APIView):
    def post(self, request: Request) -> Response:
        return Response(charge(request), status=201)


urlpatterns = [path("charges/", ChargeView.as_view())]
