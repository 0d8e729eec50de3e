"""drf-idempotency: a middleware for the whole project, or a decorator; PostgreSQL or Redis."""

import hashlib
from collections.abc import Callable

from benchmarks.packages.project import CONFIGURATION, LEASE_SECONDS, charge, configure

PACKAGES_OWN = "drf_idempotency.middleware.IdempotencyMiddleware"
USER_IN_KEY = f"{__name__}.put_user_into_key"

configure(
    urls=__name__,
    apps=("drf_idempotency",),
    middleware={
        "quick start": (PACKAGES_OWN,),
        "decorator": (),
        "user in the key": (USER_IN_KEY, PACKAGES_OWN),
        "decorator, JsonResponse, ATOMIC_REQUESTS": (USER_IN_KEY,),
    }[CONFIGURATION],
    IDEMPOTENCY={
        "BACKEND": "drf_idempotency.backends.database.DatabaseBackend",
        "LOCK_TTL_SECONDS": LEASE_SECONDS,
    },
    ATOMIC_REQUESTS="ATOMIC_REQUESTS" in CONFIGURATION,
)

from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.urls import path
from drf_idempotency import idempotent
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView


class ChargeView(APIView):
    def post(self, request: Request) -> Response:
        return Response(charge(request), status=201)


@api_view(["POST"])
@idempotent()
def decorated(request: Request) -> Response:
    return Response(charge(request), status=201)


@api_view(["POST"])
@idempotent()
def decorated_json(request: Request) -> JsonResponse:
    return JsonResponse(charge(request), status=201)


def put_user_into_key(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Do as its page on security says: the caller becomes part of the key "before it reaches" it.

    A middleware comes before DRF knows the user; the token stands for the user here.
    """

    def middleware(request: HttpRequest) -> HttpResponseBase:
        if key := request.META.get("HTTP_IDEMPOTENCY_KEY"):
            caller = hashlib.sha256(request.META["HTTP_AUTHORIZATION"].encode()).hexdigest()
            request.META["HTTP_IDEMPOTENCY_KEY"] = f"{caller}:{key}"
        return get_response(request)

    return middleware


views = {"decorator": decorated, "decorator, JsonResponse, ATOMIC_REQUESTS": decorated_json}
urlpatterns = [path("charges/", views.get(CONFIGURATION, ChargeView.as_view()))]
