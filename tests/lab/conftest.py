"""The lab's commands as a user runs them, on the test database; and its mechanisms one by one."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from lab import mechanisms
from lab.harness import bank, second_database, store
from lab.harness.redis_server import provide
from tests.support.live import ROOT, database_url
from tests.support.tiers import starts_processes

Manage = Callable[..., subprocess.CompletedProcess[str]]
REDIS = ("request_id_cache", "distributed_lock", "token_redis")
ROOM = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that use the database only through another process.

    pytest-django sets up the test database only if a selected test is marked; without it, the
    process of a test that runs alone would work on the developer's database.
    """
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if ROOM in item.path.parents and "django_db_setup" in fixtures:
            item.add_marker(pytest.mark.django_db)


def need_redis() -> None:
    """Skip a test where there is no Redis; fail where the run demands one."""
    if os.environ.get("REDIS_URL") or shutil.which("redis-server"):
        return
    if os.environ.get("REDIS") == "required":
        pytest.fail("this run demands a Redis, and there is none")
    pytest.skip("there is no Redis")


def need_second_database() -> None:
    """Skip a test where the server prepares no transactions."""
    if not second_database.is_obtainable():
        pytest.skip("there is no second database: max_prepared_transactions, CREATEDB")


@pytest.fixture(scope="session")
def manage(django_db_setup: None, django_db_blocker: Any) -> Manage:
    """Run a command of manage.py on the test database."""
    with django_db_blocker.unblock():
        url = database_url(connection.get_connection_params())
    # Not those of the tests: some run a copy of the project without them.
    settings = {"DEBUG": "true", "DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "config.settings"}

    def manage(
        *arguments: str, root: Path = ROOT, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=root,
            env=os.environ | settings | environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return manage


@pytest.fixture
def tables(db: None) -> Callable[[str], Any]:
    """Make a mechanism's tables for this test, and return its module."""

    def make(mechanism: str) -> Any:
        module = mechanisms.load(mechanism)
        with connection.cursor() as cursor:
            cursor.execute("CREATE SCHEMA lab_of_this_test")
            cursor.execute("SELECT set_config('search_path', 'lab_of_this_test, public', true)")
            cursor.execute(f"{bank.SCHEMA}; {getattr(module, 'SCHEMA', '')}")
        return module

    return make


@pytest.fixture(scope="session")
@starts_processes
def _redis() -> Iterator[str]:
    need_redis()
    with provide() as url:
        assert url is not None
        yield url


@pytest.fixture
def redis(_redis: str) -> Iterator[store.CountingRedis]:
    store.connect(_redis)
    yield store.client()
    store.client().close()
