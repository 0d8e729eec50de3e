"""Measure what protection costs: `python -m benchmarks`, or `make benchmark`.

Pays and places beside the same effects in unprotected views, in bursts that take turns, on
databases and web servers of its own. benchmarks/README.md explains the table.
"""

import argparse
import os
import signal
import sys
from importlib import import_module

from web.arguments import number_up_to

# Benchmarks of their own: modules with a `main` that reads its own options.
OTHERS = {
    "capacity": "benchmarks.capacity",
    "cluster": "benchmarks.cluster",
    "contention": "benchmarks.contention",
    "growth": "benchmarks.growth",
    "packages": "benchmarks.packages.speed",
    "relay": "benchmarks.relay",
    "services": "benchmarks.services",
    "sizes": "benchmarks.sizes",
}


def main() -> None:
    """Print each kind of request beside naive: ratios, CPU time, round trips and flushes."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started is ended all the same
    if len(sys.argv) > 1 and (module := OTHERS.get(sys.argv[1].removeprefix("--"))):
        sys.argv = [f"{sys.argv[0]} {sys.argv[1]}", *sys.argv[2:]]
        import_module(module).main()
        return
    options = _options()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    import django

    django.setup()
    from django.db import connection

    from benchmarks import report
    from benchmarks.throughput import compare

    connection.ensure_connection()  # this starts the embedded PostgreSQL
    server = connection.get_connection_params()
    about = report.machine(connection) | {
        "clients": options.clients,
        "rounds": options.rounds,
        "seconds": options.seconds,
    }
    measured = compare(
        server, clients=options.clients, seconds=options.seconds, rounds=options.rounds
    )
    if options.json:
        sys.stdout.write(report.as_json(about, measured))
        return
    sys.stdout.write(f"{report.in_words(about)}\n\n{report.table(measured)}\n")
    sys.stdout.write(f"The client took at most {report.client_ms(measured):.2f} ms a request.\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    meaning = "customers at a time, each on a connection of its own (%(default)s)"
    parser.add_argument("--clients", type=number_up_to(64), default=8, metavar="N", help=meaning)
    meaning = "length of each burst (%(default)s)"
    parser.add_argument("--seconds", type=float, default=1.0, metavar="S", help=meaning)
    meaning = "bursts of each kind (%(default)s)"
    parser.add_argument("--rounds", type=number_up_to(64), default=16, metavar="N", help=meaning)
    parser.add_argument("--json", action="store_true", help="print every burst")
    others = parser.add_argument_group(
        "benchmarks of their own; --help after one lists its options"
    )
    for name, module in OTHERS.items():
        others.add_argument(f"--{name}", action="store_true", help=f"run {module}")
    return parser.parse_args()


if __name__ == "__main__":
    main()
