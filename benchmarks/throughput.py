"""Paying and placing beside the same effects without protection: interleaved bursts, compared."""

import random
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from benchmarks.costs import Costs, costs
from benchmarks.kinds import KINDS, Kind, Requests
from benchmarks.load import Exchange, burst
from benchmarks.systems import SYSTEMS, System, system

# Of the same requests before a burst, not counted: a session that is more than a minute old is
# opened anew (CONN_MAX_AGE), and prepares its statements anew.
WARM_UP_SECONDS = 0.5
PER_SECOND_MIN = 1_000  # requests, of which twice as many are made ahead of the first burst
COSTED = 20  # requests by which the costs of one are counted, after as many that prepare


@dataclass
class Measured:
    """The bursts of one kind.

    :param ratios: of its throughput to that of naive in the same round
    :param cpu_ratios: of naive's CPU time a request to its own, in the same round
    :param responses: that were counted, each of them checked
    """

    costs: Costs
    responses: int = 0
    ratios: list[float] = field(default_factory=list)
    cpu_ratios: list[float] = field(default_factory=list)
    per_second: list[float] = field(default_factory=list)
    python_ms: list[float] = field(default_factory=list)
    postgres_ms: list[float] = field(default_factory=list)
    client_ms: list[float] = field(default_factory=list)

    @property
    def cpu_ms(self) -> list[float]:
        """The CPU time of both; where PostgreSQL is on another machine, Python's."""
        return [sum(both) for both in zip_longest(self.python_ms, self.postgres_ms, fillvalue=0)]


def compare(
    server: Mapping[str, Any], *, clients: int, seconds: float, rounds: int
) -> dict[str, Measured]:
    """Measure every kind in each round, in another order each time.

    :param server: the parameters of a connection to the PostgreSQL to use
    :param seconds: of each burst
    :raises WrongResponse: a request got another response than it should
    """
    with ExitStack() as stack:
        systems = {
            name: stack.enter_context(system(server, name, customers=clients)) for name in SYSTEMS
        }
        benches = {kind: _Bench(kind, systems[kind.system]) for kind in KINDS}
        for number in range(rounds):
            sys.stderr.write(f"round {number + 1} of {rounds}\n")
            in_any_order = random.sample(KINDS, len(KINDS))
            # What is compared runs side by side: a shared machine's speed changes by the second.
            for kind in sorted(in_any_order, key=lambda kind: kind.naive):
                benches[kind].measure(seconds)
    measured = {kind.name: bench.measured for kind, bench in benches.items()}
    for kind in KINDS:
        own, naive = measured[kind.name], measured[kind.naive]
        own.ratios = _quotients(own.per_second, naive.per_second)
        own.cpu_ratios = _quotients(naive.cpu_ms, own.cpu_ms)
    return measured


def _quotients(dividends: Iterable[float], divisors: Iterable[float]) -> list[float]:
    return [dividend / divisor for dividend, divisor in zip(dividends, divisors, strict=True)]


class _Bench:
    """A kind of request to a system, and what has been measured of it."""

    def __init__(self, kind: Kind, target: System) -> None:
        self.target = target
        self.requests = Requests(kind, target)
        (one, *_) = self.requests.ahead(2 * COSTED)
        sample = [next(one).request for _ in range(2 * COSTED)]
        self.measured = Measured(costs(target.environment, sample))
        self.per_second_max: float = PER_SECOND_MIN

    def warm_up(self) -> None:
        """Have the server open its sessions and prepare its statements."""
        requests = self._ahead(WARM_UP_SECONDS)
        done = burst(self.target.address, requests, seconds=WARM_UP_SECONDS)
        self.per_second_max = max(self.per_second_max, done.per_second)

    def measure(self, seconds: float) -> None:
        """Add a burst to what has been measured."""
        requests = self._ahead(seconds)
        self.warm_up()
        python, postgres = self.target.python_seconds(), self.target.postgres_seconds()
        done = burst(self.target.address, requests, seconds=seconds)
        python_after, postgres_after = self.target.python_seconds(), self.target.postgres_seconds()
        self.per_second_max = max(self.per_second_max, done.per_second)
        self.measured.responses += len(done.latencies)
        self.measured.per_second.append(done.per_second)
        each_ms = 1000 / len(done.latencies)
        self.measured.client_ms.append(done.cpu_seconds * each_ms)
        self.measured.python_ms.append((python_after - python) * each_ms)
        if postgres is not None and postgres_after is not None:
            self.measured.postgres_ms.append((postgres_after - postgres) * each_ms)

    def _ahead(self, seconds: float) -> list[Iterator[Exchange]]:
        """Make four times as many requests as the fastest burst so far would have needed."""
        wanted = 4 * self.per_second_max * seconds / len(self.target.customers)
        return self.requests.ahead(int(wanted) + 10)
