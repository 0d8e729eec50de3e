from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from rest_framework.test import APIClient

from idempotency import Claim
from idempotency.journal.recorder import Recorder
from idempotency.tests.processes import build
from idempotency.tests.project.models import Account, Charge, User
from idempotency.tests.support import (
    armed_failpoints,
    journal_in_memory,
    recorded_failpoints,
)

PASSWORD = "a password"
OPENING = 1_000
Debiting = Callable[..., Any]


@pytest.fixture(autouse=True)
def journal() -> Iterator[Recorder]:
    """What this process would journal in a test, which writes it itself or not at all."""
    with journal_in_memory() as recorder:
        yield recorder


@pytest.fixture
def alice(db: None) -> User:
    return User.objects.create_user("alice", password=PASSWORD)


@pytest.fixture
def bob(db: None) -> User:
    return User.objects.create_user("bob")


@pytest.fixture
def client(alice: User) -> Client:
    """Return a browser's session of alice's, for views of any kind."""
    return signed_in(alice)


def signed_in(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client


def charges() -> int:
    return Charge.objects.count()


def client_of(user: User) -> APIClient:
    """Return a client that is a user, to which an exception of a view is a 500."""
    client = APIClient(raise_request_exception=False)
    client.force_authenticate(user)
    return client


@pytest.fixture
def as_alice(alice: User) -> APIClient:
    return client_of(alice)


@pytest.fixture
def as_bob(bob: User) -> APIClient:
    return client_of(bob)


@pytest.fixture
def account(alice: User) -> Account:
    return Account.objects.create(owner_id=alice.pk, balance=OPENING)


@pytest.fixture
def debit(as_alice: APIClient, account: Account) -> Debiting:
    """Debit alice's account by 5 under a key; by default under the same one."""

    def debit(
        key: str | None = "k", body: Any = None, client: APIClient = as_alice, **headers: str
    ) -> Any:
        named = {} if key is None else {"Idempotency-Key": key}
        body = {"amount": 5} if body is None else body
        return client.post(f"/accounts/{account.pk}/debits/", body, headers=named | headers)

    return debit


@pytest.fixture
def token(as_alice: APIClient) -> str:
    response = as_alice.post("/api/tokens/")
    assert response.status_code == 201
    assert response["Cache-Control"] == "no-store"
    return str(response.json()["token"])


@pytest.fixture
def at_failpoint() -> Iterator[Callable[..., None]]:
    """Run something at a failpoint of this process, once; checks that it was reached."""
    with armed_failpoints() as arm:
        yield arm


@pytest.fixture
def passed_failpoints() -> Iterator[list[str]]:
    """The failpoints of this process that were passed, in order."""
    with recorded_failpoints() as passed:
        yield passed


@pytest.fixture
def hold() -> Callable[..., AbstractContextManager[None]]:
    """Return a block in which another session is executing a scope's key."""

    @contextmanager
    def hold(scope: str, key: str = "k") -> Iterator[None]:
        other = connection.copy()
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", [Claim(scope, key).key_lock])
            yield
            cursor.execute("SELECT pg_advisory_unlock_all()")  # now, not when the session ends
        other.close()

    return hold


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("sdist", tmp_path_factory.mktemp("sdist"))
