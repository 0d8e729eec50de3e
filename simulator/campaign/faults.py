"""What breaks in the cluster: one function a fault, and the test that it hit.

Each breaks something when its block begins and mends it at the end. It yields a condition: the
fault has hit, and whatever had to take over has.
"""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from demo.cluster import network, places
from demo.cluster.cluster import Cluster
from demo.cluster.hosts import CLIENTS
from demo.cluster.servers import until

HasHit = Callable[[], bool]
Fault = Callable[[Cluster], AbstractContextManager[HasHit]]

DATABASE_PROGRAMS = ("patroni", "postgres")
LATEST_MIGRATION_BUT_ONE = ("orders", "0005")
QUORUM_SECONDS = 20
FULL_SECONDS = 10
PROXY_SECONDS = 3


@contextmanager
def primary_killed(cluster: Cluster) -> Iterator[HasHit]:
    """Kill the primary and its Patroni."""
    primary = _primary(cluster)
    cluster.kill(primary, *DATABASE_PROGRAMS)
    yield lambda: cluster.primary() not in {None, primary}
    cluster.start_patroni(primary)


@contextmanager
def primary_split(cluster: Cluster) -> Iterator[HasHit]:
    """Cut the primary's host off from all but a web server and a relay, whose sessions go on."""
    primary, hosts = _primary(cluster), cluster.hosts
    still_connected = (primary, hosts.webs[0], *hosts.relays[:1])
    others = [each for each in (*hosts.all, CLIENTS) if each not in still_connected]
    network.cut(primary, *others)
    yield lambda: cluster.primary() not in {None, primary}
    network.heal(primary, *others)


@contextmanager
def primary_frozen(cluster: Cluster) -> Iterator[HasHit]:
    """Stop all processes of the primary's host: its kernel goes on to acknowledge packets."""
    primary = _primary(cluster)
    assert network.signal_all(primary, signal.SIGSTOP), f"nothing runs on {primary}"
    yield lambda: cluster.primary() not in {None, primary}
    network.signal_all(primary, signal.SIGCONT)


@contextmanager
def standby_then_primary_killed(cluster: Cluster) -> Iterator[HasHit]:
    """Kill the synchronous standby; once another one is, the primary."""
    primary = _primary(cluster)
    (standby,) = cluster.synchronous_standbys()
    cluster.kill(standby, *DATABASE_PROGRAMS)
    third = (set(cluster.hosts.databases) - {primary, standby}).pop()
    until(
        lambda: cluster.synchronous_standbys() == [third],
        seconds=60,
        what=f"{third} is the synchronous standby",
    )
    cluster.kill(primary, *DATABASE_PROGRAMS)
    yield lambda: cluster.primary() == third
    for host in (standby, primary):
        cluster.start_patroni(host)


@contextmanager
def etcd_without_quorum(cluster: Cluster) -> Iterator[HasHit]:
    """Kill two of three etcd for a while: the primary goes on, as long as it reaches the others."""
    two = cluster.hosts.databases[:2]
    for host in two:
        cluster.kill(host, "etcd")
    until(lambda: not cluster.has_quorum(), seconds=30, what="etcd without a quorum")
    lost_at = time.monotonic()
    yield lambda: time.monotonic() > lost_at + QUORUM_SECONDS and not cluster.has_quorum()
    for host in two:
        cluster.start_etcd(host)
    until(cluster.has_quorum, seconds=60, what="etcd with a quorum")


@contextmanager
def disk_full(cluster: Cluster) -> Iterator[HasHit]:
    """Fill the disk of the primary for a while, from the first write that it refuses."""
    primary = _primary(cluster)
    with places.full_disk(primary):
        until(
            lambda: cluster.lacks_space(primary) or cluster.primary() not in {None, primary},
            seconds=60,
            what=f"a write is refused on {primary}",
        )
        time.sleep(FULL_SECONDS)
    yield lambda: True


@contextmanager
def proxies_killed(cluster: Cluster) -> Iterator[HasHit]:
    """Kill every HAProxy and PgBouncer, and start them again after a moment."""
    hosts = cluster.hosts
    for host in hosts.webs:
        cluster.kill(host, "haproxy", "pgbouncer")
    cluster.kill(hosts.front, "haproxy")
    time.sleep(PROXY_SECONDS)
    for host in hosts.webs:
        cluster.start_proxies(host)
    cluster.start_front()
    yield lambda: True


@contextmanager
def web_server_killed(cluster: Cluster) -> Iterator[HasHit]:
    """Kill a web server with all its processes."""
    host = cluster.hosts.webs[0]
    cluster.kill(host, "gunicorn")
    yield lambda: True
    cluster.start_web(host)


@contextmanager
def rolling_deploy(cluster: Cluster) -> Iterator[HasHit]:
    """Replace the web servers one by one, with a migration between."""
    cluster.migrate(*LATEST_MIGRATION_BUT_ONE)
    for host in cluster.hosts.webs:
        cluster.stop_web(host)
        cluster.migrate()  # the first time: the other web server goes on meanwhile
        cluster.start_web(host)
    yield lambda: True


def _primary(cluster: Cluster) -> str:
    primary = cluster.primary()
    assert primary, "there is no primary to begin with"
    return primary
