"""What the commands `lab` and `simulate --mechanism` share: play, show, and say what differs."""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings
from django.core.management.base import CommandError
from django.db import Error
from redis import RedisError
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from lab import report
from lab.director import LabBroken
from lab.matrix import Line, Program, as_json, run
from lab.mechanisms import NAMES
from lab.redis_server import available

CLICKS = 10
MOST_CLICKS = 25  # each needs a database connection or two
ALL = "all"
MECHANISMS = (*NAMES, ALL)
WIDE = 164


@contextmanager
def played(
    mechanism: str, scenarios: Sequence[str], *, clicks: int, costs: bool, json_file: Path | None
) -> Iterator[list[Line]]:
    """Play scenarios with a mechanism or all; yield the lines to show; then say what differs.

    :raises CommandError: the lab is off, can't reach its database or Redis, or a scene failed
    :raises SystemExit: with 1, at the end, where a cell is not the expected one
    """
    if not settings.LAB_ENABLED:
        raise CommandError("The lab is for development: it wants DEBUG=true, and no pooler.")
    if not 2 <= clicks <= MOST_CLICKS:
        raise CommandError(f"The lab plays with 2 to {MOST_CLICKS} clicks, not {clicks}.")
    started = time.monotonic()
    names = NAMES if mechanism == ALL else (mechanism,)
    try:
        with available() as redis_url:
            program = Program(names, scenarios, clicks, costs, redis_url)
            lines = _play(program)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except (LabBroken, Error, RedisError) as error:
        reason = str(error).partition("\n")[0]
        raise CommandError(f"The lab can't play: {reason}") from error
    yield lines
    differences = report.differences(lines)
    if json_file:
        found = {
            "clicks": clicks,
            "redis": program.redis_url is not None,
            "ok": not differences,
            "seconds": round(time.monotonic() - started, 2),
            "mechanisms": as_json(lines),
        }
        json_file.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    _conclude(lines, differences)


def show(table: Table) -> None:
    """Print a table; as wide as it wants where the output is no terminal."""
    console = Console()
    (console if console.is_terminal else Console(width=WIDE)).print(table)


def _play(program: Program) -> list[Line]:
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("", total=len(program.playable) * len(program.scenarios))

        def advance(mechanism: str, scenario: str) -> None:
            progress.update(bar, advance=1, description=f"{mechanism}: {scenario}")
            whole_row = len(program.scenarios) > 1 and scenario == program.scenarios[-1]
            if whole_row and not sys.stderr.isatty():
                sys.stderr.write(f"{mechanism}: all scenarios played\n")

        return run(program, advance=advance)


def _conclude(lines: Sequence[Line], differences: Sequence[str]) -> None:
    left_out = [line.mechanism for line in lines if not line.outcomes]
    if left_out:
        sys.stderr.write(f"Not played: {', '.join(left_out)} ({report.NO_REDIS}).\n")
    for difference in differences:
        sys.stderr.write(f"{difference}\n")
    if differences:
        raise SystemExit(1)
    if len(left_out) < len(lines):
        sys.stderr.write("Every cell is as it is written in lab/expected.py.\n")
