"""What the commands `lab` and `simulate --mechanism` share: play, show, and say what differs."""

import json
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.core.management.base import CommandError
from django.db import Error
from redis import RedisError
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from idempotency.database_errors import sqlstate
from lab import report
from lab.director import LabBroken
from lab.matrix import Line, Program, as_json, run
from lab.mechanisms import NAMES, NEED_REDIS
from lab.redis_server import available

CLICKS = 10
MOST_CLICKS = 25  # each needs a database connection or two
ALL = "all"
MECHANISMS = (*NAMES, ALL)
WIDE = 164
CANNOT_PLAY = 2
UNDEFINED_TABLE = "42P01"


@dataclass(frozen=True)
class Played:
    """What a program came to."""

    program: Program
    lines: list[Line]
    seconds: float


def play(mechanism: str, scenarios: Sequence[str], *, clicks: int, costs: bool = False) -> Played:
    """Play scenarios with a mechanism, or with all that can be played here.

    :raises CommandError: the lab is off, lacks its database or Redis, or a scene came apart
    :raises SystemExit: it was interrupted; it has tidied up
    """
    if not settings.LAB_ENABLED:
        raise _cannot_play("it is for development: it wants DEBUG=true, and no pooler")
    if not 2 <= clicks <= MOST_CLICKS:
        raise _cannot_play(f"it takes 2 to {MOST_CLICKS} clicks, not {clicks}")
    started = time.monotonic()
    names = NAMES if mechanism == ALL else (mechanism,)
    try:
        with _terminable(), available(wanted=not NEED_REDIS.isdisjoint(names)) as redis_url:
            program = Program(names, scenarios, clicks, costs, redis_url)
            if not program.playable:
                raise _cannot_play(f"{mechanism} {report.NO_REDIS}")
            lines = _run(program)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except (LabBroken, Error, RedisError) as error:
        hint = "; run manage.py migrate" if sqlstate(error) == UNDEFINED_TABLE else ""
        raise _cannot_play(str(error).partition("\n")[0] + hint) from error
    return Played(program, lines, round(time.monotonic() - started, 2))


def show(table: Table) -> None:
    """Print a table; as wide as it wants where the output is no terminal."""
    console = Console()
    (console if console.is_terminal else Console(width=WIDE)).print(table)


def conclude(played: Played, json_file: Path | None) -> None:
    """Write the report where one is wanted, and say what differs from the written expectation.

    :raises SystemExit: with 1 where anything differs
    """
    differences = report.differences(played.lines)
    if json_file:
        found = {
            "clicks": played.program.clicks,
            "redis": played.program.redis_url is not None,
            "ok": not differences,
            "seconds": played.seconds,
            "mechanisms": as_json(played.lines),
        }
        try:
            json_file.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise CommandError(f"The report was not written: {error}") from error
    left_out = [line.mechanism for line in played.lines if not line.outcomes]
    if left_out:
        sys.stderr.write(f"Not played: {', '.join(left_out)} ({report.NO_REDIS}).\n")
    for sentence in differences or ["Every cell is as it is written in lab/expected.py."]:
        sys.stderr.write(f"{sentence}\n")
    if differences:
        raise SystemExit(1)


def _cannot_play(reason: str) -> CommandError:
    return CommandError(f"The lab can't play: {reason}.", returncode=CANNOT_PLAY)


@contextmanager
def _terminable() -> Iterator[None]:
    """Have SIGTERM end the block in order, as Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(program: Program) -> list[Line]:
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("", total=len(program.playable) * len(program.scenarios))

        def advance(mechanism: str, scenario: str) -> None:
            progress.update(bar, advance=1, description=f"{mechanism}: {scenario}")
            whole_row = len(program.scenarios) > 1 and scenario == program.scenarios[-1]
            if whole_row and not sys.stderr.isatty():
                sys.stderr.write(f"{mechanism}: all scenarios played\n")

        return run(program, advance=advance)
