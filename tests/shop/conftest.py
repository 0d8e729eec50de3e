"""A visitor of the shop's pages."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client

from payments.models import Account
from tests.conftest import OPENING
from tests.support.browserless import Visitor, through


@pytest.fixture
def visit() -> Callable[[User], Visitor]:
    """Return a visitor who is signed in as a user, in a browser of their own."""

    def visit(user: User) -> Visitor:
        client = Client()
        client.force_login(user)
        return through(client)

    return visit


@pytest.fixture
def shop(alice: User, visit: Callable[[User], Visitor]) -> Visitor:
    """Alice, who looks at the shop's pages."""
    return visit(alice)


def charged(account: Account) -> int:
    balance = Account.objects.get(pk=account.pk).balance
    assert balance is not None
    return OPENING - balance
