"""Reading lists from a replica, where the settings name one: a view says so, and nothing else does.

What decides about money or keys is read where it is written: a replica is behind by as much as its
replay, so that what a decision was read from could be over already.
"""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, TypeVar

import structlog
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, Error
from psycopg.errors import QueryCanceled

REPLICA = "replica"
Read = TypeVar("Read")

log = structlog.get_logger("database")

_from_replica = ContextVar("from_replica", default=False)


class Router:
    """All models are in the primary; within `from_replica`, they are read from the replica."""

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return REPLICA if _from_replica.get() else DEFAULT_DB_ALIAS

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return DEFAULT_DB_ALIAS

    def allow_relation(self, one: Any, other: Any, **hints: Any) -> bool:
        return True

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return db == DEFAULT_DB_ALIAS


def from_replica(read: Callable[[], Read]) -> Read:
    """Return what a function reads, from the replica if there is one; plain SQL is not affected.

    Where the replica fails, the function is called again, on the primary; but not after a statement
    that took too long. Whoever is signed in has to be known before.

    :param read: only reads, and returns what it has read, not a query
    """
    if REPLICA not in settings.DATABASES:
        return read()
    token = _from_replica.set(True)
    try:
        return read()
    except Error as error:
        if isinstance(error.__cause__, QueryCanceled):
            raise
        log.warning("the replica failed: read from the primary", error=str(error).strip())
    finally:
        _from_replica.reset(token)
    return read()
