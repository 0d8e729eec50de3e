"""What becomes of a relay's host while it works on orders; the other relay has to finish them."""

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from demo.cluster import network
from demo.cluster.cluster import Cluster
from demo.cluster.hosts import TWO_SYSTEMS
from demo.cluster.network import address
from demo.cluster.servers import until
from simulator.campaign.faults import HasHit

AT_WORK_SECONDS_MAX = 60

# A relay's session holds the lock of its number, and there is no other lock of its host's.
CLAIMED = """
SELECT order_id::text FROM orders_paymentrequest
 WHERE settled_at IS NULL AND claimed_by IN (
       SELECT objid::bigint::int FROM pg_locks JOIN pg_stat_activity USING (pid)
        WHERE locktype = 'advisory' AND client_addr = %(host)s::inet)
"""
OPEN = """
SELECT order_id::text FROM orders_paymentrequest
 WHERE settled_at IS NULL AND order_id = ANY(%(orders)s::uuid[])
"""


@contextmanager
def relay_killed(cluster: Cluster) -> Iterator[HasHit]:
    """Kill everything on a relay's host while it works on orders."""
    host = cluster.hosts.relays[0]
    orders = _stop_at_work(cluster, host)
    network.signal_all(host, signal.SIGKILL)
    yield lambda: not _open(cluster, orders)
    cluster.start_relay(host)


@contextmanager
def relay_cut_off(cluster: Cluster) -> Iterator[HasHit]:
    """Cut a relay's host off from all others while it works on orders."""
    host = cluster.hosts.relays[0]
    others = [each for each in TWO_SYSTEMS if each != host]
    orders = _stop_at_work(cluster, host)
    network.cut(host, *others)
    network.signal_all(host, signal.SIGCONT)
    yield lambda: not _open(cluster, orders)
    network.heal(host, *others)


def _stop_at_work(cluster: Cluster, host: str) -> Sequence[str]:
    """Stop a host's processes at a moment when its relay works on orders; return those."""

    def stopped() -> Sequence[str]:
        network.signal_all(host, signal.SIGSTOP)
        orders = [order for (order,) in cluster.read(CLAIMED, host=address(host))]
        if not orders:
            network.signal_all(host, signal.SIGCONT)
        return orders

    orders: Sequence[str] = until(stopped, seconds=AT_WORK_SECONDS_MAX, what=f"{host} works")
    return orders


def _open(cluster: Cluster, orders: Sequence[str]) -> bool:
    """Return True if one of these orders waits for its payment."""
    return bool(cluster.read(OPEN, orders=orders))
