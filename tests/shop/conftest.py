"""A visitor of the shop's pages, an order to pay, and both systems with a network between them."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client

from orders.models import Order
from payments.models import Account
from tests.conftest import OPENING
from tests.support.browserless import Visitor, through
from tests.support.network import _network, network

__all__ = ["_network", "network"]


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


@pytest.fixture
def order(alice: User, alice_account: Account, place: Callable[..., Order]) -> Order:
    """An order of alice's that she hasn't paid yet, and can pay."""
    return place(customer=alice)


def charged(account: Account) -> int:
    balance = Account.objects.get(pk=account.pk).balance
    assert balance is not None
    return OPENING - balance
