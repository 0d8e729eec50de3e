"""Both systems with a network between them that the tests can break: a chaos proxy, and relays."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection

from operations.audit import check_invariants as audit
from simulator.chaos import ChaosProxy
from tests.support.api_tokens import add_api_token
from tests.support.live import ROOT, LiveServer, ends_with_the_run

SERVICE_TOKEN = "the-order-services-own-token-in-tests"


class Network:
    """The shop's server, the proxy that it reaches the payment system through, and its relays."""

    def __init__(self, server: LiveServer, proxy: ChaosProxy) -> None:
        self.server, self.proxy = server, proxy
        self.relays: list[subprocess.Popen[bytes]] = []

    def relay(self, *, concurrency: int = 8) -> subprocess.Popen[bytes]:
        """Start a relay."""
        command = [
            *ends_with_the_run(),
            *(sys.executable, "-m", "tests.support.relay", "--concurrency", str(concurrency)),
        ]
        with (self.server.folder / "relay-log").open("ab") as log:
            relay = subprocess.Popen(
                command,
                cwd=ROOT,
                env=self.server.environment | self.server.direct,  # a relay's locks are a session's
                stdout=log,
                stderr=log,
            )
        self.relays.append(relay)
        return relay

    def stop_relays(self) -> None:
        """End the relays in order; who does not follow is killed."""
        for relay in self.relays:
            relay.send_signal(signal.SIGTERM)
        for relay in self.relays:
            try:
                relay.wait(20)
            except subprocess.TimeoutExpired:
                relay.kill()
                relay.wait()
        self.relays.clear()


@pytest.fixture(scope="session")
def _network(django_db_setup: None, django_db_blocker: Any, tmp_path_factory: Any) -> Any:
    with django_db_blocker.unblock():
        params = connection.get_connection_params()
    folder: Path = tmp_path_factory.mktemp("network")
    server = LiveServer(database=params, folder=folder)
    with ChaosProxy(("127.0.0.1", server.port)) as proxy:
        server.environment |= {"PAYMENTS_URL": proxy.url, "PAYMENTS_TOKEN": SERVICE_TOKEN}
        with server:
            yield Network(server, proxy)


@pytest.fixture
def network(_network: Network, transactional_db: None) -> Iterator[Network]:
    """Return the network, whole; afterwards nobody is at work and every invariant holds."""
    service = User.objects.create_user("order-system")
    service.user_permissions.add(Permission.objects.get(codename="charge"))
    add_api_token(service, SERVICE_TOKEN)
    _network.proxy.happened.clear()
    _network.proxy.chance = {}
    yield _network
    _network.proxy.chance = {}
    _network.server.disarm()
    _network.stop_relays()
    assert [found for found in audit() if found.breaches] == []
