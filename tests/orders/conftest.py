"""Clicks on the order system's API where the payment system is behind a network."""

import pytest
from django.contrib.auth.models import User
from rest_framework.authtoken.models import Token

from tests.support.live import Caller
from tests.support.network import Network


@pytest.fixture
def click(network: Network, alice: User) -> Caller:
    return Caller(network.server.url, Token.objects.get_or_create(user=alice)[0].key)
