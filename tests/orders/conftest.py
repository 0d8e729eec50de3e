"""Clicks on the order system's API where the payment system is behind a network."""

import pytest
from django.contrib.auth.models import User

from tests.support.api_tokens import api_token_of
from tests.support.live import Caller
from tests.support.network import Network


@pytest.fixture
def click(network: Network, alice: User) -> Caller:
    return Caller(network.server.url, api_token_of(alice))
