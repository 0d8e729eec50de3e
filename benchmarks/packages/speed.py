"""Measure what each package costs around one bare view: `python -m benchmarks.packages.speed`.

The same view, a token look-up and an INSERT, without a package, with ours, and with others, each in
its own environment; bursts of a package and of none take turns. Database sessions are kept.
"""

import argparse
import json
import os
import random
import sys
from collections.abc import Iterator
from itertools import cycle
from statistics import median
from typing import Any
from uuid import uuid4

from benchmarks import report
from benchmarks.load import Address, Exchange, burst, post, response_to
from benchmarks.packages.catalogue import CONTENDERS, NAIVE, OURS
from benchmarks.packages.deployment import ALICE, Deployment
from benchmarks.packages.report import title
from benchmarks.packages.servers import database_server
from web.arguments import number_up_to

# By their files, and the set-ups in which they respond to a plain request.
MEASURED = {
    OURS.module: {"README", "its tokens"},
    "drf_idempotency": {"quick start"},
    "idemkit": {"Redis", "PostgreSQL"},
}
PER_SECOND_MAX = 4_000
REPLAYED = 25
BODY = b'{"amount":1}'
KINDS = ("first", "replay")


def main() -> None:
    """Print the throughput of first requests and replays, as a multiple of the bare view's."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=number_up_to(64), default=8, metavar="N")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each burst (%(default)s)")
    parser.add_argument("--rounds", type=number_up_to(64), default=8, metavar="N")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    os.environ["COMPARE_SESSION_SECONDS"] = "600"
    server, connection = database_server()
    about = report.machine(connection) | {"clients": options.clients, "rounds": options.rounds}
    ratios: dict[str, list[float]] = {}
    for contender in CONTENDERS:
        for configuration in contender.configurations:
            if configuration.name not in MEASURED.get(contender.module, ()):
                continue
            sys.stderr.write(f"{title(contender, configuration)}\n")
            with (
                Deployment(NAIVE, NAIVE.configurations[0], server) as bare,
                Deployment(contender, configuration, server) as protected,
            ):
                for kind, values in _compare(bare, protected, options).items():
                    ratios[f"{title(contender, configuration)}: {kind}"] = values
    if options.json:
        sys.stdout.write(json.dumps({**about, "ratios": ratios}, indent=1) + "\n")
        return
    sys.stdout.write(f"{report.in_words(about)}\n\n")
    for name, values in ratios.items():
        shown = f"{median(values):.2f}  {min(values):.2f}..{max(values):.2f}"
        sys.stdout.write(f"{name:60}  {shown}\n")


def _compare(bare: Deployment, protected: Deployment, options: Any) -> dict[str, list[float]]:
    """Return the ratios of both kinds of requests to bare ones, of each round."""
    benches = {kind: _Bench(protected, kind) for kind in KINDS} | {"bare": _Bench(bare, "first")}
    ratios: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for number in range(options.rounds + 1):  # the first round warms up
        turns = random.sample(sorted(benches), len(benches))
        per_second = {kind: benches[kind].measure(options) for kind in turns}
        for kind in KINDS if number else ():
            ratios[kind].append(per_second[kind] / per_second["bare"])
    return ratios


class _Bench:
    """A running contender, and the requests of one kind to it."""

    def __init__(self, deployment: Deployment, kind: str) -> None:
        self.address: Address = ("127.0.0.1", deployment.gunicorns[0].port)
        self.replays = [self._replay() for _ in range(REPLAYED if kind == "replay" else 0)]

    def measure(self, options: Any) -> float:
        """Return the requests per second of a burst."""
        count = int(PER_SECOND_MAX * options.seconds / options.clients)
        sent: list[Iterator[Exchange]] = [
            cycle(random.sample(self.replays, REPLAYED))
            if self.replays
            else iter([self._first() for _ in range(count)])
            for _ in range(options.clients)
        ]
        return burst(self.address, sent, seconds=options.seconds).per_second

    def _first(self) -> Exchange:
        request = post("/charges/", BODY, token=ALICE, key=str(uuid4()))
        return Exchange(request, 201, (b'"charge":',))

    def _replay(self) -> Exchange:
        first = self._first()
        body = response_to(self.address, first).partition(b"\r\n\r\n")[2]
        return first._replace(contained=(body,))


if __name__ == "__main__":
    main()
