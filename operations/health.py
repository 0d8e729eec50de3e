"""Is the process up; can it do its work; does the outbox get emptied."""

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
    """Answer while the process lives; touches nothing else."""
    return JsonResponse({"status": "ok"})


def readyz(request: HttpRequest) -> JsonResponse:
    """Answer 200 when the database is reachable and migrated, 503 otherwise.

    Where payments are asked for over a network it also says how the outbox does. One that is stuck
    is still a 200: this process takes orders and accepts payments all the same, and to take it out
    of service would add an outage here to the one over there. Alert on `stuck` instead.
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
    now = Outbox.look()
    oldest = round(now.oldest_seconds, 1)
    return {"outbox": {"open": now.open, "oldest_seconds": oldest, "stuck": now.is_stuck}}


# Its WHERE is that of the index `orders_paymentrequest_due`.
OPEN = """
SELECT count(*), coalesce(extract(epoch FROM now() - min(created_at)), 0),
       coalesce(sum(greatest(attempts - 1, 0)), 0), count(*) FILTER (WHERE last_error <> '')
  FROM orders_paymentrequest WHERE settled_at IS NULL AND NOT dead_lettered
"""


@dataclass(frozen=True)
class Outbox:
    """Payments that the relay has to ask for: how many, and since when the oldest of them."""

    open: int
    oldest_seconds: float
    retries: int
    unknown: int

    @classmethod
    def look(cls) -> Self:
        """Read it off the database, in one query."""
        opened, oldest, retries, unknown = one_row(OPEN)
        return cls(opened, float(oldest), int(retries), unknown)

    @property
    def is_stuck(self) -> bool:
        """Whether the oldest waits for longer than a payment should take."""
        return self.oldest_seconds > float(settings.OUTBOX_STUCK_SECONDS)


def one_row(question: str) -> Any:
    """Return the one row that a query finds."""
    with connection.cursor() as cursor:
        cursor.execute(question)
        return cursor.fetchone()


class NotMigrated(Exception):
    """The database lacks migrations of this code."""


@functools.cache
def _check_migrated() -> None:
    """Raise until every migration has been applied; after that never look again."""
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        raise NotMigrated
