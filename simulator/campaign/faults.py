"""What breaks in the cluster: one function a fault, and the test that it hit.

Each breaks something when its block begins and mends it at the end. It yields a condition: the
fault has hit, and whatever had to take over has.
"""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from demo.cluster import network, places
from demo.cluster.cluster import Cluster, until
from demo.cluster.network import CLIENTS, DATABASES, FRONT, WEBS

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
    """Cut the primary's host off from all others but one web server, whose sessions go on."""
    primary = _primary(cluster)
    others = [each for each in (*DATABASES, WEBS[1], FRONT, CLIENTS) if each != primary]
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
    third = (set(DATABASES) - {primary, standby}).pop()
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
    for host in DATABASES[:2]:
        cluster.kill(host, "etcd")
    until(lambda: not cluster.has_quorum(), seconds=30, what="etcd without a quorum")
    lost_at = time.monotonic()
    yield lambda: time.monotonic() > lost_at + QUORUM_SECONDS and not cluster.has_quorum()
    for host in DATABASES[:2]:
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
    for host in WEBS:
        cluster.kill(host, "haproxy", "pgbouncer")
    cluster.kill(FRONT, "haproxy")
    time.sleep(PROXY_SECONDS)
    for host in WEBS:
        cluster.start_proxies(host)
    cluster.start_front()
    yield lambda: True


@contextmanager
def web_server_killed(cluster: Cluster) -> Iterator[HasHit]:
    """Kill a web server with all its processes."""
    cluster.kill(WEBS[0], "gunicorn")
    yield lambda: True
    cluster.start_web(WEBS[0])


@contextmanager
def rolling_deploy(cluster: Cluster) -> Iterator[HasHit]:
    """Replace the web servers one by one, with a migration between."""
    cluster.migrate(*LATEST_MIGRATION_BUT_ONE)
    for host in WEBS:
        cluster.stop_web(host)
        cluster.migrate()  # the first time: the other web server goes on meanwhile
        cluster.start_web(host)
    yield lambda: True


FAULTS: dict[str, Fault] = {
    "primary killed": primary_killed,
    "primary split": primary_split,
    "primary frozen": primary_frozen,
    "standby, then primary killed": standby_then_primary_killed,
    "etcd without quorum": etcd_without_quorum,
    "disk full": disk_full,
    "proxies killed": proxies_killed,
    "web server killed": web_server_killed,
    "rolling deploy": rolling_deploy,
}


def _primary(cluster: Cluster) -> str:
    primary = cluster.primary()
    assert primary, "there is no primary to begin with"
    return primary
