"""Is the process up; can it do its work."""

import functools

from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse

from config.problems import database_unavailable


def healthz(request: HttpRequest) -> JsonResponse:
    """Answer while the process lives; touches nothing else."""
    return JsonResponse({"status": "ok"})


def readyz(request: HttpRequest) -> JsonResponse:
    """Answer 200 when the database is reachable and migrated, 503 otherwise."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        _check_migrated()
    except (Error, NotMigrated) as error:
        return database_unavailable(error)
    return JsonResponse({"status": "ready"})


class NotMigrated(Exception):
    """The database lacks migrations of this code."""


@functools.cache
def _check_migrated() -> None:
    """Raise until every migration has been applied; after that never look again."""
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        raise NotMigrated
