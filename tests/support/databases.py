"""A pytest plugin: test databases of a run's own, emptied fast, on a server with enough room.

Each worker of each run has a database of its own, so runs do not meet in one checkout. A worker
holds an advisory lock for its database as long as it lives; a database whose lock is free was left
by a run that was killed, and the next run drops it.
"""

import atexit
import contextlib
import fcntl
import os
import re
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connection, connections, transaction
from django.test import TransactionTestCase
from psycopg.sql import SQL, Composed, Identifier

from tests.support.tiers import processes_allowed

ROOT = Path(__file__).resolve().parents[2]
HOME = "EMBEDDED_POSTGRES_HOME"
CONNECTIONS_MAX = 600  # of two workers of two runs, each with live servers and twenty-fold clicks
LARGE_BYTES = 1_000_000  # a table that TRUNCATE empties faster than DELETE
SPARED = frozenset({"django_migrations", "django_content_type", "auth_permission"})


def pytest_configure(config: pytest.Config) -> None:
    """Give the tests an embedded server of their own, before anything reads where it is."""
    home = os.environ.get(HOME) or str(ROOT / "var" / "postgres")
    os.environ[HOME] = f"{home.removesuffix('-tests')}-tests"  # a worker inherits its run's
    TransactionTestCase._fixture_teardown = _empty_databases  # type: ignore[attr-defined]
    config.pluginmanager.register(_Fixtures())  # after pytest-django, whose fixture it replaces


class _Fixtures:
    @pytest.fixture(scope="session")
    @classmethod
    def django_db_keepdb(cls) -> bool:
        """Leave it to the fixture below to drop the database, whoever still uses it."""
        return True

    @pytest.fixture(scope="session")
    @classmethod
    def django_db_modify_db_settings(cls, django_db_blocker: Any) -> Iterator[None]:
        """Name this worker's database, and drop it at the end; drop those of killed runs."""
        with processes_allowed():
            if "embedded" in settings.DATABASES[DEFAULT_DB_ALIAS]["ENGINE"]:
                _make_room()
            with django_db_blocker.unblock():
                session = _outside_django()
        prefix = f"test_{settings.DATABASES[DEFAULT_DB_ALIAS]['NAME']}"
        name = f"{prefix}_{os.getpid()}_{time.time_ns() // 1_000_000}"
        _lock(session, name)
        _drop_orphans(session, prefix)
        for alias in connections:
            connections[alias].settings_dict["TEST"]["NAME"] = name
        yield
        _drop(session, name)


def _outside_django() -> psycopg.Connection[Any]:
    """Return a connection that is not Django's: a test may end all of those."""
    with connections[DEFAULT_DB_ALIAS]._nodb_cursor() as cursor:
        info = cursor.connection.info
        session = psycopg.connect(
            host=info.host,
            port=info.port,
            user=info.user,
            password=info.password,
            dbname=info.dbname,
            autocommit=True,
        )
    atexit.register(session.close)
    return session


def _make_room() -> None:
    """Have the embedded server accept many connections; only the first run ever restarts it."""
    from embedded_postgres import server
    from embedded_postgres.places import home

    home().mkdir(parents=True, exist_ok=True)
    with (home() / "tests.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        server.ensure_running()
        address = server.dsn("postgres")
        with psycopg.connect(address, autocommit=True) as own:
            found = own.execute("SELECT current_setting('max_connections')::int").fetchone()
            if found == (CONNECTIONS_MAX,):
                return
            own.execute(f"ALTER SYSTEM SET max_connections = {CONNECTIONS_MAX}")
            # Nothing here outlives a run: what a crash of the machine takes is made anew.
            own.execute("ALTER SYSTEM SET fsync = off")
        server.stop()
        server._use.end()
        server.ensure_running()


def _lock(session: psycopg.Connection[Any], name: str) -> bool:
    found = session.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", [name])
    return found.fetchone() == (True,)


def _drop_orphans(session: psycopg.Connection[Any], prefix: str) -> None:
    """Drop the test databases whose runs have ended without doing so."""
    names = session.execute(
        "SELECT datname FROM pg_database WHERE starts_with(datname, %s || '_')", [prefix]
    ).fetchall()
    for (name,) in names:
        owned = re.match(rf"{prefix}_\d+_\d+", name)  # a test's others are named after it
        if owned is None or not _lock(session, owned[0]):
            continue
        with contextlib.suppress(psycopg.Error):
            _drop(session, name)
        session.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", [owned[0]])


def _drop(session: psycopg.Connection[Any], name: str) -> None:
    session.execute(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(name)))


def _empty_databases(_: TransactionTestCase) -> None:
    """Empty the tables after a test with transactions of its own, as `flush` does, but faster.

    Content types and permissions stay instead of being made anew. A small table is emptied by
    DELETE: TRUNCATE makes new files for it and its indexes. The lock waits for whoever still works,
    as TRUNCATE does.
    """
    tables = _tables()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0")
        cursor.execute(SQL("LOCK TABLE {}").format(_joined(tables)))
        cursor.execute(
            "SELECT name FROM unnest(%s::text[]) AS name"
            " WHERE pg_relation_size(name::regclass) > %s",
            [tables, LARGE_BYTES],
        )
        large = [name for (name,) in cursor.fetchall()]
        if large:
            cursor.execute(SQL("TRUNCATE {}").format(_joined(tables)))
            return
        cursor.execute("SET LOCAL session_replication_role = replica")
        deletes = (SQL("DELETE FROM {}").format(Identifier(table)) for table in tables)
        cursor.execute(SQL("; ").join(deletes))


@cache
def _tables() -> list[str]:
    names = connection.introspection.django_table_names(only_existing=True, include_views=False)
    return sorted(set(names) - SPARED)


def _joined(names: list[str]) -> Composed:
    return SQL(", ").join(map(Identifier, names))
