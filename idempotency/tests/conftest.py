from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from django.db import connection
from django.test import Client

from idempotency import Claim
from idempotency.tests.project.models import Charge, User
from idempotency.tests.support import build

PASSWORD = "a password"


@pytest.fixture
def alice(db: None) -> User:
    return User.objects.create_user("alice", password=PASSWORD)


@pytest.fixture
def client(alice: User) -> Client:
    return signed_in(alice)


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def charges() -> int:
    return Charge.objects.count()


@pytest.fixture
def hold() -> Callable[..., AbstractContextManager[None]]:
    """Return a block in which another session is executing a scope's key."""

    @contextmanager
    def hold(scope: str, key: str = "k") -> Iterator[None]:
        other = connection.copy()
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", [Claim(scope, key).key_lock])
            yield
        other.close()

    return hold


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("sdist", tmp_path_factory.mktemp("sdist"))
