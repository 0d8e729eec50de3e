"""drf-idem: an app, a middleware, a cache of its own; Redis, for 60 seconds at most."""

from benchmarks.packages.project import REDIS_URL, charge, configure

configure(
    urls=__name__,
    apps=("drf_idem",),
    middleware=("drf_idem.middleware.IdempotencyMiddleware",),
    CACHES={
        "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
        "drf_idem": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": REDIS_URL,
        },
    },
    DRF_IDEM={
        "HEADER": "HTTP_X_REQUEST_ID",
        "TTL": 60,
        "CACHE_BACKEND": "drf_idem",
        "ENDPOINTS": [],
        "METHODS": ["POST", "PUT", "PATCH", "DELETE"],
    },
)

from django.urls import path
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView


class ChargeView(APIView):
    def post(self, request: Request) -> Response:
        return Response(charge(request), status=201)


urlpatterns = [path("charges/", ChargeView.as_view())]
