"""Probes: whether the process is up, can work, and empties the outbox."""

import functools
from dataclasses import dataclass
from typing import Any, Self

from django.apps import apps
from django.conf import settings
from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse

from web.problems import database_unavailable


def healthz(request: HttpRequest) -> JsonResponse:
    """Return 200 while the process lives; reads nothing."""
    return JsonResponse({"status": "ok"})


def readyz(request: HttpRequest) -> JsonResponse:
    """Return 200 when the database is reachable and migrated, 503 otherwise.

    Where payments go over a network, the body also describes the outbox. A stuck one is still a
    200: this process accepts orders and payments all the same, and removing it from service would
    add an outage here to the one over there. Alert on `stuck` instead.
    """
    try:
        one_row("SELECT 1")
        _check_migrated()
        return JsonResponse({"status": "ready", **_outbox()})
    except (Error, NotMigrated) as error:
        return database_unavailable(error)


def _outbox() -> dict[str, Any]:
    if not (settings.PAYMENTS_URL and apps.is_installed("orders")):
        return {}
    outbox = Outbox.measure()
    oldest = round(outbox.oldest_seconds, 1)
    return {"outbox": {"open": outbox.open, "oldest_seconds": oldest, "stuck": outbox.is_stuck}}


# Its WHERE is that of the index `orders_paymentrequest_due`.
OPEN = """
SELECT count(*), coalesce(extract(epoch FROM now() - min(created_at)), 0),
       coalesce(sum(greatest(attempts - 1, 0)), 0), count(*) FILTER (WHERE last_error <> '')
  FROM orders_paymentrequest WHERE settled_at IS NULL AND NOT dead_lettered
"""


@dataclass(frozen=True)
class Outbox:
    """The open payment requests: how many, how old the oldest is, how many retries."""

    open: int
    oldest_seconds: float
    retries: int
    unknown: int

    @classmethod
    def measure(cls) -> Self:
        """Read the numbers from the database, in one query."""
        open_requests, oldest, retries, unknown = one_row(OPEN)
        return cls(open_requests, float(oldest), int(retries), unknown)

    @property
    def is_stuck(self) -> bool:
        """Whether the oldest waits for longer than a payment should."""
        return self.oldest_seconds > float(settings.OUTBOX_STUCK_SECONDS)


def one_row(query: str) -> Any:
    """Return the row of a query that has one."""
    with connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchone()


class NotMigrated(Exception):
    """The database lacks migrations of this code."""


@functools.cache
def _check_migrated() -> None:
    """Raise until every migration has been applied; after that, never check again."""
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        raise NotMigrated
