"""Measure whether millions of orders slow anything down: `python -m benchmarks.growth`.

Two systems differ in their number of orders only, and their bursts take turns. Then every page of
the admin is loaded in the larger one, and it is audited.
"""

import argparse
import itertools
import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from benchmarks import report
from benchmarks.kinds import KINDS, Requests
from benchmarks.load import Exchange, burst, get
from benchmarks.packages.servers import database_server
from benchmarks.systems import System, system
from demo.processes import ROOT
from web.arguments import number_up_to

WARM_UP_SECONDS = 2.0
PER_SECOND_MAX = 2_000  # requests that a client is sure not to exceed
KIND_OF = {kind.name: kind for kind in KINDS}
WRITES = ("first pay", "replay of a pay", "first place")
LISTS = {"orders, a page": "orders/", "entries, a page": "accounts/{account}/entries/"}
HISTORY = {
    "orders": "SELECT count(*) FROM orders_order",
    "paid": "SELECT count(*) FROM payments_payment WHERE outcome = 'succeeded'",
    "records": "SELECT count(*) FROM idempotency_record",
}


def main() -> None:
    """Print p50 and p99 of both systems, each page's time, and what the audit takes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    limit = number_up_to(100_000_000)
    parser.add_argument("--orders", type=limit, default=1_000_000, metavar="N")
    parser.add_argument("--beside", type=limit, default=10_000, metavar="N", help="(%(default)s)")
    parser.add_argument("--clients", type=number_up_to(64), default=1, metavar="N")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each burst (%(default)s)")
    parser.add_argument("--rounds", type=number_up_to(64), default=5, metavar="N")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    server, connection = database_server()
    about = report.machine(connection) | {"clients": options.clients, "rounds": options.rounds}
    with ExitStack() as stack:
        started = time.perf_counter()
        small, large = (
            stack.enter_context(system(server, "ours", customers=options.clients, size=size))
            for size in (options.beside, options.orders)
        )
        measured: dict[str, Any] = {"loaded s": round(time.perf_counter() - started, 1)}
        measured["history"] = [history(small), history(large)]
        measured["requests"] = _requests(small, large, options)
        measured |= pages(large)
        measured["audit"] = audit(large)
    if options.json:
        sys.stdout.write(json.dumps({**about, **measured}, indent=1) + "\n")
        return
    sys.stdout.write(f"{report.in_words(about)}\n\n")
    _print(measured, options)


def _requests(small: System, large: System, options: argparse.Namespace) -> dict[str, Any]:
    """Return p50 and p99 of every kind of request, in ms, of both systems."""
    latencies: dict[tuple[str, int], list[float]] = {}
    both = [(number, target, sent(target)) for number, target in enumerate((small, large))]
    for _, target, kinds in both:
        for ahead in kinds.values():
            burst(target.address, ahead(WARM_UP_SECONDS), seconds=WARM_UP_SECONDS)
    for number in range(options.rounds):
        sys.stderr.write(f"round {number + 1} of {options.rounds}\n")
        turns = [(kind, each) for kind in both[0][2] for each in both]
        for kind, (which, target, kinds) in random.sample(turns, len(turns)):
            done = burst(target.address, kinds[kind](options.seconds), seconds=options.seconds)
            latencies.setdefault((kind, which), []).extend(done.latencies)
    return {
        kind: [report.percentiles(latencies[kind, which]) for which in (0, 1)]
        for kind in both[0][2]
    }


def sent(target: System) -> dict[str, Any]:
    """Return, by kind, a function that makes the requests of each client for so many seconds."""

    def made(requests: Requests) -> Any:
        return lambda seconds: requests.ahead(int(PER_SECOND_MAX * seconds / len(target.customers)))

    def listed(path: str) -> Any:
        return lambda _: [
            _always(get(f"/api/v1/{path.format(account=each.account)}", token=each.token))
            for each in target.customers
        ]

    writes = {name: made(Requests(KIND_OF[name], target)) for name in WRITES}
    return writes | {name: listed(path) for name, path in LISTS.items()}


def _always(request: bytes) -> Iterator[Exchange]:
    return itertools.cycle([Exchange(request, 200, (b'"results":[{"id":',))])


def history(target: System) -> dict[str, int]:
    """Return what a system has before the first request."""
    return {
        name: int((target.database.execute(query.encode()).fetchone() or [0])[0])
        for name, query in HISTORY.items()
    }


def pages(target: System) -> dict[str, Any]:
    """Return how many ms each page of the admin took, the slowest first, and the refusals."""
    command = [sys.executable, "-m", "benchmarks.pages"]
    printed = subprocess.check_output(command, cwd=ROOT, env=dict(target.environment))
    loaded = sorted(json.loads(printed).items(), key=lambda page: -page[1][1])
    return {
        "pages ms": {path: ms for path, (_, ms) in loaded},
        "pages refused": {path: status for path, (status, _) in loaded if status != 200},
    }


def audit(target: System) -> dict[str, float]:
    """Audit a system, which has to be clean; return the seconds, and the memory of the command."""
    started = time.perf_counter()
    command = [sys.executable, "manage.py", "audit"]
    environment = dict(target.environment)
    subprocess.run(command, cwd=ROOT, env=environment, stdout=sys.stderr, check=True)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return {"seconds": round(seconds, 1), "largest child process MB": round(peak)}


def _print(measured: dict[str, Any], options: argparse.Namespace) -> None:
    write = sys.stdout.write
    write(f"{'':18}  {options.beside:>9} orders     {options.orders:>9} orders     ratio\n")
    write(f"{'':18}  {'p50':>8} {'p99':>8} ms {'p50':>8} {'p99':>8} ms {'p50':>5} {'p99':>5}\n")
    for kind, (small, large) in measured["requests"].items():
        cells = [f"{value:8.2f}" for value in (*small.values(), *large.values())]
        ratios = [f"{large[name] / small[name]:5.2f}" for name in small]
        write(f"{kind:18}  {' '.join(cells[:2])}    {' '.join(cells[2:])}    {' '.join(ratios)}\n")
    write("\nPages of the admin, ms:\n")
    for page, ms in measured["pages ms"].items():
        refused = measured["pages refused"].get(page, "")
        write(f"{ms:9.1f}  {page} {refused}\n")
    write(f"\nAudit: {measured['audit']}; both systems loaded in {measured['loaded s']} s\n")


if __name__ == "__main__":
    main()
