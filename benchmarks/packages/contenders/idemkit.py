"""idemkit: a mixin of a backend and a scope, before the view's base; Redis or PostgreSQL."""

import asyncio
from typing import Any

from benchmarks.packages.project import (
    CONFIGURATION,
    DATABASE_URL,
    LEASE_SECONDS,
    REDIS_URL,
    charge,
    configure,
)

configure(urls=__name__)

from django.urls import path
from idemkit import HttpConfig, PostgresBackend, RedisBackend
from idemkit.backends.postgres import init_pg
from idemkit.contrib.drf import idempotent_view
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

IN_POSTGRES = CONFIGURATION == "PostgreSQL"

Idempotent: Any = idempotent_view(
    backend=(
        PostgresBackend.from_url(DATABASE_URL, min_size=1, max_size=4)
        if IN_POSTGRES
        else RedisBackend.from_url(REDIS_URL)
    ),
    config=HttpConfig(scope=lambda req: str(req.user.pk), lease_ttl_seconds=LEASE_SECONDS),
)


class ChargeView(Idempotent, APIView):
    def post(self, request: Request) -> Response:
        return Response(charge(request), status=201)


urlpatterns = [path("charges/", ChargeView.as_view())]


def prepare() -> None:
    """Make the table, as `idemkit init-pg` does."""
    if IN_POSTGRES:
        asyncio.run(init_pg(DATABASE_URL))
