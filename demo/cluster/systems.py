"""The order system and the payment system: on one cluster, or on one each with a network between.

That network loses responses and delivers requests twice (`simulator.chaos`).
"""

import json
import os
import subprocess
import sys
from typing import NamedTuple

from demo.cluster import network, places
from demo.cluster.cluster import Cluster
from demo.cluster.hosts import BETWEEN, ORDERS, PAYMENTS
from demo.cluster.network import address
from demo.distributed import FAULTS

NETWORK_PORT = 80


class Systems(NamedTuple):
    """The cluster with the orders and the one with the payments; of one system, the same twice."""

    orders: Cluster
    payments: Cluster

    @property
    def clusters(self) -> tuple[Cluster, ...]:
        return tuple(dict.fromkeys(self))

    def checks(self) -> list[subprocess.CompletedProcess[str]]:
        """Audit each side and, where they are two, compare them; exit code 0: nothing is wrong."""
        audits = [each.manage("audit") for each in self.clusters]
        return audits if len(audits) == 1 else [*audits, self._reconcile()]

    def _reconcile(self) -> subprocess.CompletedProcess[str]:
        primary, payments = self.payments.primary() or "", self.payments.hosts.name
        login = f"{payments}:{self.payments.password}"
        url = f"postgres://{login}@{address(primary)}:5432/{payments}"
        return self.orders.manage(
            "reconcile", "--grace", "0", environment={"PAYMENTS_DATABASE_URL": url}
        )


def start_one_system() -> Systems:
    """Start one system that takes orders and makes the payments itself."""
    cluster = Cluster()
    cluster.start()
    return Systems(cluster, cluster)


def start_two_systems() -> Systems:
    """Start the payment system, the losing network before it, and the order system."""
    payments = Cluster(PAYMENTS, {"ROLE": "payments"})
    payments.start()
    _start_network()
    seeded = json.loads(payments.manage_surely("seed_demo", "--json"))
    settings = {
        "ROLE": "orders",
        "PAYMENTS_URL": f"http://{address(BETWEEN)}:{NETWORK_PORT}",
        "PAYMENTS_TOKEN": seeded["service_token"],
    }
    orders = Cluster(ORDERS, settings)
    orders.start()
    return Systems(orders, payments)


def _start_network() -> None:
    """Start what the relays reach the payment system through."""
    target = f"{address(PAYMENTS.front)}:80"
    place = ("--host", address(BETWEEN), "--port", str(NETWORK_PORT), "--target", target)
    proxy = (sys.executable, "-m", "simulator.chaos", *place, *FAULTS)
    log = places.RUN / BETWEEN / "chaos.log"
    network.start(BETWEEN, *proxy, environment=os.environ, log=log)
