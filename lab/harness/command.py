"""What the commands `lab` and `simulate --mechanism` share: play, show, and say what differs."""

import json
import os
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
from lab.harness import report
from lab.harness.matrix import Line, Program, as_json, run
from lab.harness.recorder import Record, Unrecorded
from lab.harness.redis_server import available
from lab.harness.scheduler import LabBroken
from lab.harness.shutdown import ends_in_order
from lab.mechanisms import NAMES, NEED_REDIS

CLICKS = 10
MOST_CLICKS = 25  # each needs a database connection or two
ALL = "all"
MECHANISMS = (*NAMES, ALL)
WIDE = 164
CANNOT_PLAY = 2
LIMIT, GRACE = 120, 20  # seconds that a run may take while it is watched, and then to tidy up
UNDEFINED_TABLE = "42P01"


@dataclass(frozen=True)
class Played:
    """What a program came to."""

    program: Program
    lines: list[Line]
    seconds: float


def play(
    mechanism: str | Sequence[str],
    scenarios: Sequence[str],
    *,
    clicks: int,
    costs: bool = False,
    record: Unrecorded | None = None,
) -> Played:
    """Play scenarios with a mechanism, with some, or with all that can be played here.

    :param record: where to take note of what happens
    :raises CommandError: the lab is off, lacks its database or Redis, or a scene came apart
    :raises SystemExit: it was interrupted; it has tidied up
    """
    if not settings.LAB_ENABLED:
        raise _cannot_play("it is for development: it wants DEBUG=true, and no pooler")
    if not 2 <= clicks <= MOST_CLICKS:
        raise _cannot_play(f"it takes 2 to {MOST_CLICKS} clicks, not {clicks}")
    started = time.monotonic()
    chosen = (mechanism,) if isinstance(mechanism, str) else mechanism
    names = NAMES if ALL in chosen else tuple(dict.fromkeys(chosen))
    try:
        with ends_in_order(), available(wanted=not NEED_REDIS.isdisjoint(names)) as redis_url:
            notes = record or Unrecorded()
            program = Program(names, scenarios, clicks, costs, redis_url, notes)
            if not program.playable:
                raise _cannot_play(f"{', '.join(names)} {report.NO_REDIS}")
            lines = _run(program)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except (LabBroken, Error, RedisError) as error:
        hint = "; run manage.py migrate" if sqlstate(error) == UNDEFINED_TABLE else ""
        raise _cannot_play(str(error).partition("\n")[0] + hint) from error
    return Played(program, lines, round(time.monotonic() - started, 2))


@contextmanager
def watched(file: Path | None) -> Iterator[Unrecorded]:
    """Yield a record of the block's run in a file, with how it ended as the last line.

    The run then ends within LIMIT seconds.
    """
    if file is None:
        yield Unrecorded()
        return
    with file.open("a", encoding="utf-8") as lines:
        record, error = Record(lines), "it was interrupted"
        try:
            with _limited():
                yield record
            error = ""
        except CommandError as reason:
            error = str(reason)
            raise
        finally:
            record.note("end", error=error)


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
def _limited() -> Iterator[None]:
    """Have the block end at the limit as a scene that came apart; kill it if that takes long."""
    alarms = [LIMIT]

    def end(*_: object) -> None:
        if not alarms:
            os.kill(os.getpid(), signal.SIGKILL)
        raise LabBroken(f"it was not over within {alarms.pop()} s")

    before = signal.signal(signal.SIGALRM, end)
    try:
        signal.setitimer(signal.ITIMER_REAL, LIMIT, GRACE)
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _run(program: Program) -> list[Line]:
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("", total=len(program.playable) * len(program.scenarios))

        def advance(mechanism: str, scenario: str) -> None:
            progress.update(bar, advance=1, description=f"{mechanism}: {scenario}")
            whole_row = len(program.scenarios) > 1 and scenario == program.scenarios[-1]
            if whole_row and not sys.stderr.isatty():
                sys.stderr.write(f"{mechanism}: all scenarios played\n")

        return run(program, advance=advance)
