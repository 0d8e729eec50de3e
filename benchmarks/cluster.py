"""Measure pays on a cluster: `python -m benchmarks.cluster`, on Debian as root.

Each round pays with one web server and with two, while a COMMIT waits for a standby and while it
does not. All hosts share this machine's cores: what counts are the ratios and the CPU time.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple
from uuid import UUID

from benchmarks import cpu, systems
from benchmarks.kinds import KINDS, Requests
from benchmarks.load import Address, Burst, Exchange, burst
from demo.cluster import hosts, network, places
from demo.cluster.cluster import Cluster
from demo.cluster.hosts import SHOP
from demo.cluster.janitor import fresh_hosts, run_on
from demo.cluster.network import address
from web.arguments import number_up_to

FIRST_PAY = next(kind for kind in KINDS if kind.name == "first pay")
PER_SECOND_MAX = 1_000  # pays that no burst exceeds
WARM_UP_SECONDS = 4.0  # of a web server's sessions, and of the front's checks


class Shape(NamedTuple):
    """How many web servers there are, and whether a COMMIT waits for a standby."""

    webs: int
    synchronous: bool

    def __str__(self) -> str:
        return f"{self.webs} web, {'' if self.synchronous else 'a'}synchronous"


# In an order that changes one thing at a time, there and back. The first is what others are
# compared with.
SHAPES = (Shape(1, True), Shape(2, True), Shape(2, False), Shape(1, False))


@dataclass(frozen=True)
class Target:
    """The cluster, as what makes requests ahead needs it."""

    address: Address
    database: systems.Session
    customers: list[systems.Customer]

    def place(self, customer: systems.Customer, count: int) -> list[UUID]:
        """Place so many orders of a customer's at once, past the web servers."""
        return systems.place(self.database, customer, count)


@dataclass
class Measured:
    """The bursts of one shape of the cluster."""

    per_second: list[float] = field(default_factory=list)
    web_ms: list[float] = field(default_factory=list)
    database_ms: list[float] = field(default_factory=list)


def main() -> None:
    """Print pays a second, their ratios, and the CPU time of a pay on web and database hosts."""
    options = _options()
    if options.child:
        _measure(options)
    elif reason := places.prepare():
        sys.exit(f"{reason} Nothing was measured.")
    else:
        with fresh_hosts(hosts.ONE_SYSTEM):
            command = ("-m", "benchmarks.cluster", "--child", *sys.argv[1:])
            code = run_on(hosts.CLIENTS, *command)
        sys.exit(code)


def _measure(options: argparse.Namespace) -> None:
    cluster = Cluster()
    cluster.start()
    with cluster.connect(cluster.primary() or "", database=SHOP.name) as session:
        customers = [systems.customer(session, number) for number in range(options.clients)]
        target = Target((address(SHOP.front), 80), session, customers)
        measured = {shape: Measured() for shape in SHAPES}
        for number in range(options.rounds):
            sys.stderr.write(f"round {number + 1} of {options.rounds}\n")
            for shape in SHAPES[:: -1 if number % 2 else 1]:
                _reshape(cluster, shape)
                _pay(target, WARM_UP_SECONDS)
                _add(measured[shape], target, options.seconds)
    _print(measured)


def _reshape(cluster: Cluster, shape: Shape) -> None:
    second = SHOP.webs[1]
    running = bool(network.signal_all(second, 0, programs=("gunicorn",)))
    if running and shape.webs == 1:
        cluster.stop_web(second)
    elif shape.webs == 2 and not running:
        cluster.start_web(second)
    if cluster.synchronous != shape.synchronous:
        cluster.replicate(synchronously=shape.synchronous)


def _pay(target: Target, seconds: float) -> Burst:
    wanted = int(PER_SECOND_MAX * seconds / len(target.customers)) + 10
    requests: list[Iterator[Exchange]] = Requests(FIRST_PAY, target).ahead(wanted)
    return burst(target.address, requests, seconds=seconds)


def _add(measured: Measured, target: Target, seconds: float) -> None:
    web, database = _cpu_seconds(SHOP.webs), _cpu_seconds(SHOP.databases)
    done = _pay(target, seconds)
    each_ms = 1000 / len(done.latencies)
    measured.per_second.append(done.per_second)
    measured.web_ms.append((_cpu_seconds(SHOP.webs) - web) * each_ms)
    measured.database_ms.append((_cpu_seconds(SHOP.databases) - database) * each_ms)


def _cpu_seconds(names: Sequence[str]) -> float:
    return sum(cpu.of_all(network.pids(name)) for name in names)


def _print(measured: Mapping[Shape, Measured]) -> None:
    base = measured[SHAPES[0]].per_second
    for shape, each in measured.items():
        ratios = [own / first for own, first in zip(each.per_second, base, strict=True)]
        shown = {
            "ratio": ratios,
            "pays a second": each.per_second,
            "web CPU ms": each.web_ms,
            "database CPU ms": each.database_ms,
        }
        values = "  ".join(f"{name} {_range(numbers)}" for name, numbers in shown.items())
        sys.stdout.write(f"{shape}: {values}\n")


def _range(values: Sequence[float]) -> str:
    return f"{median(values):.2f} ({min(values):.2f}..{max(values):.2f})"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    meaning = "customers at a time, each on a connection of its own (%(default)s)"
    parser.add_argument("--clients", type=number_up_to(64), default=16, metavar="N", help=meaning)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each burst (%(default)s)")
    parser.add_argument("--rounds", type=number_up_to(64), default=3, metavar="N")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
