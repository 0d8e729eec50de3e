"""The parts that the commands `lab` and `simulate --mechanism` share: run, print, report."""

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

from idempotency.database_errors import sqlstate
from lab.harness import redis_server, report, second_database
from lab.harness.cluster import LabCluster
from lab.harness.matrix import LabPlan, MatrixRow, as_json, run_plan
from lab.harness.recorder import EventRecorder, NullRecorder
from lab.harness.scenario_run import PLENTY, ScenarioRun
from lab.harness.scheduler import LabError, Scheduler
from lab.harness.shutdown import graceful_shutdown
from lab.mechanisms import NAMES, NEED_REDIS

CLICKS_DEFAULT = 10
CLICKS_MAX = 25  # each needs a database connection or two
ALL = "all"
MECHANISMS = (*NAMES, ALL)
WIDTH_COLUMNS = 164
EXIT_CANNOT_RUN = 2
RUN_SECONDS_MAX, TIDY_SECONDS_MAX = 120, 20  # of a run that is watched
UNDEFINED_TABLE = "42P01"


@dataclass(frozen=True)
class LabReport:
    """A finished run: its plan, the rows of the matrix, and its duration."""

    plan: LabPlan
    rows: list[MatrixRow]
    seconds: float


def run_lab(
    mechanism: str | Sequence[str],
    scenarios: Sequence[str],
    *,
    clicks: int,
    measure_costs: bool = False,
    recorder: NullRecorder | None = None,
) -> LabReport:
    """Run scenarios with a mechanism, with some, or with all that can run here.

    :param recorder: records what happens
    :raises CommandError: the lab is off, lacks its database or Redis, or a scenario failed to run
    :raises SystemExit: a signal interrupted it; it has dropped its tables
    """
    _check_can_run(clicks)
    started = time.monotonic()
    chosen = (mechanism,) if isinstance(mechanism, str) else mechanism
    names = NAMES if ALL in chosen else tuple(dict.fromkeys(chosen))
    wants_redis = not NEED_REDIS.isdisjoint(names)
    try:
        with graceful_shutdown(), redis_server.provide(wanted=wants_redis) as redis_url:
            recorder = recorder or NullRecorder()
            plan = LabPlan(
                *(names, scenarios, clicks, measure_costs, redis_url, recorder),
                has_second_database=second_database.is_obtainable(),
            )
            if not plan.runnable:
                raise _cannot_run("; ".join(report.reasons_not_to_run(names)))
            rows = _run_with_progress(plan)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except (LabError, Error, RedisError) as error:
        hint = "; run manage.py migrate" if sqlstate(error) == UNDEFINED_TABLE else ""
        raise _cannot_run(str(error).partition("\n")[0] + hint) from error
    return LabReport(plan, rows, round(time.monotonic() - started, 2))


def storm(mechanism: str, *, orders: int, clicks: int) -> list[int]:
    """Return how often each of some orders is charged by so many clicks on it at once.

    :raises CommandError: as `run_lab`
    """
    _check_can_run(clicks)
    try:
        with (
            graceful_shutdown(),
            LabCluster({mechanism}, None, clicks=clicks) as cluster,
            Scheduler() as scheduler,
        ):
            return [
                ScenarioRun(
                    cluster, mechanism, scheduler, clicks=clicks, opening_balance=PLENTY
                ).storm()
                for _ in range(orders)
            ]
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except (LabError, Error) as error:
        raise _cannot_run(str(error).partition("\n")[0]) from error


def _check_can_run(clicks: int) -> None:
    if not settings.LAB_ENABLED:
        raise _cannot_run("it is for development: it wants DEBUG=true, and no pooler")
    if not 2 <= clicks <= CLICKS_MAX:
        raise _cannot_run(f"it takes 2 to {CLICKS_MAX} clicks, not {clicks}")


@contextmanager
def record_to(file: Path | None) -> Iterator[NullRecorder]:
    """Yield a recorder that writes the block's run to a file; the last line says how it ended.

    The run ends within RUN_SECONDS_MAX.
    """
    if file is None:
        yield NullRecorder()
        return
    with file.open("a", encoding="utf-8") as lines:
        recorder, error = EventRecorder(lines), "it was interrupted"
        try:
            with _limited():
                yield recorder
            error = ""
        except CommandError as reason:
            error = str(reason)
            raise
        finally:
            recorder.record("end", error=error)


def console() -> Console:
    """Return the output; as wide as a table wants where that is no terminal."""
    terminal = Console()
    return terminal if terminal.is_terminal else Console(width=WIDTH_COLUMNS)


def conclude(finished: LabReport, json_file: Path | None) -> None:
    """Write the report to a file where one is given, and print what differs from expected.py.

    :raises SystemExit: with 1 where anything differs
    """
    differences = report.differences(finished.rows)
    if json_file:
        _write_json(finished, json_file, ok=not differences)
    not_run = [row.mechanism for row in finished.rows if not row.cells]
    for reason in report.reasons_not_to_run(not_run):
        sys.stderr.write(f"Not run: {reason}.\n")
    for sentence in differences or ["Every cell is as it is written in lab/expected.py."]:
        sys.stderr.write(f"{sentence}\n")
    if differences:
        raise SystemExit(1)


def _write_json(finished: LabReport, file: Path, *, ok: bool) -> None:
    content = {
        "clicks": finished.plan.clicks,
        "redis": finished.plan.redis_url is not None,
        "second_database": finished.plan.has_second_database,
        "ok": ok,
        "seconds": finished.seconds,
        "mechanisms": as_json(finished.rows),
    }
    try:
        file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise CommandError(f"The report was not written: {error}") from error


def _cannot_run(reason: str) -> CommandError:
    return CommandError(f"The lab can't run: {reason}.", returncode=EXIT_CANNOT_RUN)


@contextmanager
def _limited() -> Iterator[None]:
    """End the block with an error at the time limit; kill the process if that takes too long."""
    alarms = [RUN_SECONDS_MAX]

    def end(*_: object) -> None:
        if not alarms:
            os.kill(os.getpid(), signal.SIGKILL)
        raise LabError(f"it was not over within {alarms.pop()} s")

    before = signal.signal(signal.SIGALRM, end)
    try:
        signal.setitimer(signal.ITIMER_REAL, RUN_SECONDS_MAX, TIDY_SECONDS_MAX)
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _run_with_progress(plan: LabPlan) -> list[MatrixRow]:
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("", total=len(plan.runnable) * len(plan.scenarios))

        def advance(mechanism: str, scenario: str) -> None:
            progress.update(bar, advance=1, description=f"{mechanism}: {scenario}")
            whole_row = len(plan.scenarios) > 1 and scenario == plan.scenarios[-1]
            if whole_row and not sys.stderr.isatty():
                sys.stderr.write(f"{mechanism}: all scenarios done\n")

        return run_plan(plan, advance=advance)
