"""What has been measured, as a table of ratios and as JSON; and the machine that it belongs to."""

import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.throughput import Measured

HEAD = (
    "request",
    "× naive",
    "min..max",
    "× CPU",
    "Python, ms",
    "PostgreSQL, ms",
    "round trips",
    "flushes",
)


def machine(connection: Any) -> dict[str, Any]:
    """Return what the figures depend on: processor, versions, and whether a commit is safe."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('fsync'), current_setting('synchronous_commit')")
        fsync, synchronous_commit = cursor.fetchone()
    return {
        "cores": os.cpu_count(),
        "processor": _processor(),
        "python": platform.python_version(),
        "postgresql": ".".join(map(str, connection.get_database_version())),
        "fsync": fsync,
        "synchronous_commit": synchronous_commit,
    }


def table(measured: Mapping[str, Measured]) -> str:
    """Return a Markdown table: of ratios the median and the range, of CPU time the median."""
    rows = [HEAD, *(_row(name, each) for name, each in measured.items())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    head, *body = (
        f"| {' | '.join(c.ljust(w) for c, w in zip(row, widths, strict=True))} |" for row in rows
    )
    rule = f"|{'|'.join('-' * (width + 2) for width in widths)}|"
    return "\n".join([head, rule, *body]) + "\n"


def as_json(about: Mapping[str, Any], measured: Mapping[str, Measured]) -> str:
    """Return every burst."""
    kinds = {
        name: asdict(each) | {"costs": each.costs._asdict()} for name, each in measured.items()
    }
    return json.dumps({**about, "kinds": kinds}, indent=1, default=str) + "\n"


def in_words(about: Mapping[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in about.items())


def client_ms(measured: Mapping[str, Measured]) -> float:
    """Return the most CPU time that a request took from the client, which shares the machine."""
    return max(statistics.median(each.client_ms) for each in measured.values())


def percentiles(latencies: Sequence[float]) -> dict[str, float]:
    """Return p50 and p99 of so many seconds, in milliseconds."""
    return {
        "p50 ms": round(1000 * statistics.median(latencies), 2),
        "p99 ms": round(1000 * statistics.quantiles(latencies, n=100)[-1], 2),
    }


def _row(name: str, each: Measured) -> Sequence[str]:
    flushes = each.costs.flushes
    return (
        name,
        f"{statistics.median(each.ratios):.2f}",
        f"{min(each.ratios):.2f}..{max(each.ratios):.2f}",
        _median(each.cpu_ratios),
        _median(each.python_ms),
        _median(each.postgres_ms),
        f"{each.costs.round_trips:.1f}",
        "–" if flushes is None else f"{flushes:.1f}",
    )


def _median(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f}" if values else "–"


def _processor() -> str:
    """Return the processor's name, where Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
