"""Measure what protection costs: `python -m benchmarks`, or `make benchmark`."""

import argparse
import json
import os
import platform
import runpy
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

# Benchmarks of their own, each with its own options.
OTHERS = {"relay": "benchmarks.relay", "packages": "benchmarks.packages"}


def main() -> None:
    """Print each kind of request beside naive: ratios, CPU, round trips and flushes."""
    if len(sys.argv) > 1 and (other := OTHERS.get(sys.argv[1].removeprefix("--"))):
        sys.argv = [other, *sys.argv[2:]]
        runpy.run_module(other, run_name="__main__", alter_sys=False)
        return
    options = _options()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    import django

    django.setup()
    from django.db import connection

    from benchmarks.throughput import compare

    connection.ensure_connection()
    measured = compare(
        connection.get_connection_params(),
        clients=options.clients,
        seconds=options.seconds,
        rounds=options.rounds,
    )
    if options.json:
        values = {name: asdict(each) for name, each in measured.items()}
        sys.stdout.write(json.dumps({**_machine(connection), "kinds": values}, indent=1) + "\n")
        return
    sys.stdout.write(f"{options.clients} clients; {_machine(connection)}\n\n")
    sys.stdout.write(_table(measured))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each burst")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--json", action="store_true", help="print every burst")
    for name, module in OTHERS.items():
        parser.add_argument(f"--{name}", action="store_true", help=f"run {module} instead")
    return parser.parse_args()


def _machine(connection: Any) -> dict[str, Any]:
    version = ".".join(map(str, connection.get_database_version()))
    return {"cores": os.cpu_count(), "python": platform.python_version(), "postgresql": version}


def _table(measured: dict[str, Any]) -> str:
    rows = [("", "× naive", "min..max", "CPU ms Python", "PostgreSQL", "round trips", "flushes")]
    for name, each in measured.items():
        flushes = each.costs.flushes
        rows.append(
            (
                name,
                f"{statistics.median(each.ratios):.2f}",
                f"{min(each.ratios):.2f}..{max(each.ratios):.2f}",
                _median(each.python_ms),
                _median(each.postgres_ms),
                f"{each.costs.round_trips:.1f}",
                "–" if flushes is None else f"{flushes:.1f}",
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = ([*map(str.ljust, row, widths)] for row in rows)
    return "".join("  ".join(row).rstrip() + "\n" for row in padded)


def _median(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f}" if values else "–"


if __name__ == "__main__":
    main()
