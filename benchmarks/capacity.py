"""Print what so many pays a second take: `python -m benchmarks.capacity`.

It measures nothing: it multiplies the measured costs of one request and the bytes of one row. Work
is taken to spread evenly over hosts and accounts, and no host is one to spare.
"""

import argparse
import json
import math
import statistics
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from web.arguments import number_up_to

RATES = (100, 1_000, 10_000)  # pays a second
GB = 10**9


class Cost(NamedTuple):
    """The CPU time of one request, in ms: of the web server's processes and of PostgreSQL's."""

    python_ms: float
    postgres_ms: float


Costs = dict[str, Cost]

# docs/performance.md, "A pay request and its replay". The names are those of benchmarks/kinds.py.
PAY, PLACE, REPLAY = "first pay", "first place", "replay of a pay"
COSTS: Costs = {PAY: Cost(2.89, 1.64), PLACE: Cost(2.45, 1.02), REPLAY: Cost(1.20, 0.16)}
# `python -m benchmarks.sizes`: bytes of a row, or of the rows that a call writes.
ORDER, PAYMENT, RECORD, TOMBSTONE, JOURNAL, OUTBOX = 470, 850, 1_120, 370, 470, 740
# `python -m benchmarks.relay`: a relay's own CPU time for one order, in ms, the most of its rounds.
RELAY_MS = 2.9
RELAY_CONNECTIONS = 3  # of one relay: one claims, two settle (orders/relay.py)
WEB_THREADS = 16  # of a web worker, and its default
POOL = 20  # sessions of a web host's PgBouncer (deploy/cluster/pgbouncer.ini)
UUIDV7_DAYS_MIN = 30  # that a tombstone stays at least, where its key says how old it is


@dataclass(frozen=True)
class Mix:
    """What is sent besides a pay's first request.

    :param places: orders placed for each pay
    :param duplicates: requests for each pay that are replayed
    """

    places: float = 1.0
    duplicates: float = 0.1

    def requests(self, pays: float) -> dict[str, float]:
        """Return how many requests of each kind come with so many pays."""
        return {PAY: pays, PLACE: pays * self.places, REPLAY: pays * self.duplicates}

    def milliseconds(self, costs: Costs) -> Cost:
        """Return the CPU time of a pay with all that comes with it, in ms."""
        parts = [[rate * ms for ms in costs[kind]] for kind, rate in self.requests(1).items()]
        return Cost(*(sum(column) for column in zip(*parts, strict=True)))


def pays_per_second(costs: Costs, mix: Mix, *, cores: float) -> float:
    """Return the pays a second that keep so many cores busy, which run Python and PostgreSQL."""
    return 1000 * cores / sum(mix.milliseconds(costs))


def machines(
    costs: Costs, mix: Mix, *, pays: float, host_cores: int, utilisation: float
) -> dict[str, float]:
    """Return cores, hosts, relays, flushes and connections for so many pays a second.

    :param host_cores: of a web host, which has a web worker on each
    :param utilisation: the share of a core's time that may be busy, above 0 and up to 1
    """
    web, database = (pays * ms / 1000 for ms in mix.milliseconds(costs))
    hosts = math.ceil(web / (host_cores * utilisation))
    relays = math.ceil(pays * RELAY_MS / 1000 / utilisation)
    return {
        "web: busy cores": web,
        f"web: hosts of {host_cores} cores": hosts,
        "database: busy cores": database,
        "database: cores to have": math.ceil(database / utilisation),
        "log: commits to flush, a second": pays * (1 + mix.places),
        "connections: of the web servers": hosts * host_cores * (WEB_THREADS + 1),
        "connections: by PgBouncer": hosts * POOL,
        "two systems: relays": relays,
        "two systems: connections of relays": relays * RELAY_CONNECTIONS,
    }


def disk(
    mix: Mix, *, pays: float, hours: float, days: int, journal_days: int = 7
) -> dict[str, float]:
    """Return GB of rows in their final state, without the log, dead rows and copies.

    :param pays: a second, for so many hours of each day
    :param days: that responses are retained (IDEMPOTENCY_RETENTION_DAYS)
    :param journal_days: that duplicates stay in the journal (JOURNAL_RETENTION_DAYS)
    """
    daily = pays * hours * 3600 / GB  # times bytes: GB
    keys = daily * (1 + mix.places)
    return {
        "GB a day: orders, payments, entries": daily * (PAYMENT + mix.places * ORDER),
        "GB a day, two systems: outbox": daily * OUTBOX,
        f"GB: responses of {days} days": days * keys * RECORD,
        "GB: tombstones, keys are UUIDv7": max(days, UUIDV7_DAYS_MIN) * keys * TOMBSTONE,
        "GB a day: tombstones, other keys": keys * TOMBSTONE,
        f"GB: journal of {journal_days} days": journal_days * daily * mix.duplicates * JOURNAL,
    }


def measured(text: str) -> dict[str, Cost]:
    """Return the costs in what `python -m benchmarks --json` printed: medians of its bursts, ms."""
    kinds = json.loads(text)["kinds"]
    return {
        kind: Cost(*(statistics.median(kinds[kind][column]) for column in Cost._fields))
        for kind in COSTS
    }


def table(columns: Iterable[Mapping[str, float]]) -> str:
    """Return a line for each quantity, with its value at each of the rates."""
    by_rate = list(columns)
    rows = [
        ("pays a second", RATES),
        *((name, [at[name] for at in by_rate]) for name in by_rate[0]),
    ]
    return "".join(
        f"{name:36}{''.join(f'{_rounded(value):>10}' for value in values)}\n"
        for name, values in rows
    )


def _rounded(value: float) -> str:
    return f"{value:,.1f}" if value < 10 and value != int(value) else f"{value:,.0f}"


def main() -> None:
    """Print the table, and what it was made of."""
    options = _options()
    costs = measured(options.measured.read_text()) if options.measured else dict(COSTS)
    own = (options.python_ms, options.postgres_ms)
    costs[PAY] = Cost(*(given or ms for given, ms in zip(own, costs[PAY], strict=True)))
    mix = Mix(options.places, options.duplicates)
    hosts = {"host_cores": options.cores, "utilisation": options.utilisation}
    stored = {"hours": options.hours, "days": options.days}
    sys.stdout.write(
        table(
            machines(costs, mix, pays=rate, **hosts) | disk(mix, pays=rate, **stored)
            for rate in RATES
        )
    )
    source = options.measured or "docs/performance.md"
    sys.stdout.write(f"\nCPU ms of a request, Python + PostgreSQL, from {source}:\n")
    for kind, cost in costs.items():
        sys.stdout.write(f"  {kind:16} {cost.python_ms:.2f} + {cost.postgres_ms:.2f}\n")
    two = pays_per_second(costs, Mix(places=0, duplicates=0), cores=2)
    sys.stdout.write(f"Nothing but pays, on two cores for all of it: {two:,.0f} a second.\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.capacity",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--measured", type=Path, metavar="FILE", help="what `python -m benchmarks --json` printed")
    add("--python-ms", type=float, metavar="MS", help="CPU of a first pay, not the measured one")
    add("--postgres-ms", type=float, metavar="MS", help="the same of PostgreSQL")
    add("--places", type=float, default=1.0, metavar="N", help="orders for a pay (%(default)s)")
    add("--duplicates", type=float, default=0.1, metavar="N", help="replays for one (%(default)s)")
    add("--cores", type=number_up_to(1024), default=8, metavar="N", help="a web host (%(default)s)")
    meaning = "of a core's time that may be busy (%(default)s)"
    add("--utilisation", type=_share, default=0.6, metavar="SHARE", help=meaning)
    add("--hours", type=float, default=24, metavar="H", help="of that rate a day (%(default)s)")
    meaning = "that responses are retained (%(default)s)"
    add("--days", type=number_up_to(3650), default=30, metavar="N", help=meaning)
    return parser.parse_args()


def _share(text: str) -> float:
    if not 0 < float(text) <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not above 0 and up to 1")
    return float(text)


if __name__ == "__main__":
    main()
