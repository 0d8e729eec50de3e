"""django-idempotency-key: a middleware, and a decorator outside `@api_view`; memory or a cache."""

from benchmarks.packages.project import CONFIGURATION, REDIS_URL, charge, configure

REDIS = {
    "CONFLICT_STATUS_CODE": None,  # a replay has the status of the first response, not 409
    "STORAGE": {"CLASS": "idempotency_key.storage.CacheKeyStorage", "CACHE_NAME": "default"},
    "LOCK": {
        "CLASS": "idempotency_key.locks.redis.MultiProcessRedisLock",
        "LOCATION": REDIS_URL,
    },
}

configure(
    urls=__name__,
    middleware=("idempotency_key.middleware.ExemptIdempotencyKeyMiddleware",),
    CACHES={
        "default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": REDIS_URL},
    },
    IDEMPOTENCY_KEY={} if CONFIGURATION == "defaults" else REDIS,
)

from django.urls import path
from idempotency_key.decorators import idempotency_key
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response


@idempotency_key
@api_view(["POST"])
def charge_view(request: Request) -> Response:
    return Response(charge(request), status=201)


urlpatterns = [path("charges/", charge_view)]
