import pytest
from django.test import Client

from idempotency.tests.project.models import Charge, User

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
