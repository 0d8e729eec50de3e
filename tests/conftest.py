"""What the tests share: two customers, a product, signed-in clients, and a live server."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from rest_framework.test import APIClient

from idempotency.journal.recorder import Recorder
from idempotency.tests.support import (
    armed_failpoints,
    journal_in_memory,
    read_only,
    recorded_failpoints,
)
from orders.models import Order, Product
from orders.services import Line, place_order
from payments.models import Account
from payments.services import open_account
from tests.support.api_tokens import api_token_of
from tests.support.live import LiveServer
from tests.support.network import _network, network

__all__ = ["_network", "network", "read_only"]  # two fixtures

LONG_WINDOW = 10 * 365 * 24 * 3600  # of a rate; no test runs across its end
OPENING = 100_000


@pytest.fixture(autouse=True)
def journal() -> Iterator[Recorder]:
    """What this process would journal in a test, which writes it itself or not at all."""
    with journal_in_memory() as recorder:
        yield recorder


@pytest.fixture
def alice(db: None) -> User:
    return User.objects.create_user("alice")


@pytest.fixture
def bob(db: None) -> User:
    return User.objects.create_user("bob")


@pytest.fixture
def alice_account(alice: User) -> Account:
    return open_account(owner=alice, currency="EUR", opening_balance=OPENING)


@pytest.fixture
def bob_account(bob: User) -> Account:
    return open_account(owner=bob, currency="EUR", opening_balance=OPENING)


@pytest.fixture
def product(db: None) -> Product:
    return Product.objects.create(sku="TEA", name="Green tea", price=250, currency="EUR")


@pytest.fixture
def place(product: Product) -> Callable[..., Order]:
    """Place an order of so many teas."""

    def place(*, customer: User, quantity: int = 2) -> Order:
        return place_order(customer=customer, lines=[Line(product.sku, quantity)])

    return place


@pytest.fixture
def order(alice: User, alice_account: Account, place: Callable[..., Order]) -> Order:
    """An order of alice's that she hasn't paid yet, and can pay."""
    return place(customer=alice)


@pytest.fixture
def sign_in() -> Callable[[User], APIClient]:
    """Return a client that is a user, by token."""

    def sign_in(user: User) -> APIClient:
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Token {api_token_of(user)}")
        return client

    return sign_in


@pytest.fixture
def as_alice(alice: User, sign_in: Callable[[User], APIClient]) -> APIClient:
    return sign_in(alice)


@pytest.fixture
def as_bob(bob: User, sign_in: Callable[[User], APIClient]) -> APIClient:
    return sign_in(bob)


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


@pytest.fixture(scope="session")
def _live_server(django_db_setup: None, django_db_blocker: Any, tmp_path_factory: Any) -> Any:
    with django_db_blocker.unblock():
        params = connection.get_connection_params()
    folder: Path = tmp_path_factory.mktemp("live")
    with LiveServer(database=params, folder=folder) as server:
        yield server


@pytest.fixture
def server(_live_server: LiveServer, transactional_db: None) -> Iterator[LiveServer]:
    """Several processes that serve the test database, with failpoints that a test can arm."""
    yield _live_server
    _live_server.disarm()
