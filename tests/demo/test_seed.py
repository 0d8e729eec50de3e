"""Seeding a demo: what is there stays, what is missing or changed comes back, hashed once."""

from typing import Any

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.contrib.auth.models import User

from demo.seed import CUSTOMERS, seed
from web import api_tokens

pytestmark = pytest.mark.django_db

PEOPLE = {"admin", "order-service", *(customer.username for customer in CUSTOMERS)}


@pytest.fixture
def hashed(settings: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Each password that is hashed."""
    settings.DEMO_PASSWORD = "the password"
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.PBKDF2PasswordHasher"]
    monkeypatch.setattr(PBKDF2PasswordHasher, "iterations", 1)
    passwords: list[str] = []
    encode = PBKDF2PasswordHasher.encode

    def counted(hasher: Any, password: str, *arguments: Any, **named: Any) -> str:
        passwords.append(password)
        return encode(hasher, password, *arguments, **named)

    monkeypatch.setattr(PBKDF2PasswordHasher, "encode", counted)
    return passwords


def test_the_password_is_hashed_once_for_all_and_no_more_on_a_later_start(
    hashed: list[str],
) -> None:
    first = seed()
    assert hashed == ["the password"]
    assert seed() == first
    assert hashed == ["the password"]
    assert all(user.check_password("the password") for user in User.objects.all())
    assert {user.username for user in User.objects.all()} == PEOPLE


@pytest.mark.parametrize("username", sorted(PEOPLE))
def test_a_password_that_was_changed_comes_back(hashed: list[str], username: str) -> None:
    seed()
    user = User.objects.get(username=username)
    user.set_password("another")
    user.save()

    seeded = seed()

    assert all(user.check_password("the password") for user in User.objects.all())
    tokens = [user["token"] for user in seeded["users"]] + [seeded["service_token"]]
    assert all(api_tokens.authenticate(token) for token in tokens)
