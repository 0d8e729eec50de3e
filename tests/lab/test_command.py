"""The lab's commands where something is missing, wrong or interrupted."""

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management.base import CommandError
from django.db import connection
from rich.console import Console

from lab.expected import EXPECTED
from lab.harness import command, second_database
from lab.harness import report as reports
from lab.harness.command import WIDTH_COLUMNS
from lab.harness.matrix import CellResult, Cost, MatrixRow
from lab.harness.scenarios import SCENARIOS
from lab.harness.scheduler import LabError, Scheduler
from lab.harness.shutdown import end_if_asked, graceful_shutdown
from lab.mechanisms import NAMES, NEED_SECOND_DATABASE
from tests.lab.conftest import REDIS, Manage, need_second_database
from tests.support.live import ROOT, database_url, descendants, ended, is_running, until

ONE = ("simulate", "double_click", "--mechanism", "order_id")
REDIS_ONE = ("simulate", "double_click", "--mechanism", "token_redis")


def test_one_mechanism_in_one_scenario_is_shown_with_the_result_that_its_duplicates_got(
    manage: Manage, tmp_path: Path
) -> None:
    file = tmp_path / "lab.json"
    ran = manage(
        "simulate", "rpc_retry", "--mechanism", "naive", "--clicks", "3", "--json", str(file)
    )
    assert ran.returncode == 0, ran.stderr
    assert "new result" in ran.stdout
    assert "every retry of the client library is another charge" in ran.stdout
    report = json.loads(file.read_text())
    (row,) = report["mechanisms"]
    assert row["mechanism"] == "naive"
    assert [each["charges"] for each in row["scenarios"]] == [3]


def test_without_a_redis_its_mechanisms_are_not_run_and_the_output_names_them(
    manage: Manage, tmp_path: Path
) -> None:
    file = tmp_path / "lab.json"
    options = ("--mechanism", "all", "--clicks", "2", "--json", str(file))
    ran = manage("simulate", "increment", *options, PATH=str(tmp_path), REDIS_URL="")
    assert ran.returncode == 0, ran.stderr
    assert f"Not run: {', '.join(REDIS)}" in ran.stderr
    assert ran.stdout.count("needs Redis") == len(REDIS)
    report = json.loads(file.read_text())
    assert not report["redis"]
    empty = {row["mechanism"] for row in report["mechanisms"] if not row["scenarios"]}
    assert empty - NEED_SECOND_DATABASE == set(REDIS)


@pytest.mark.usefixtures("transactional_db")
def test_without_a_second_database_its_mechanism_is_not_run_and_the_output_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], settings: Any
) -> None:
    settings.LAB_ENABLED = True
    monkeypatch.setattr(second_database, "PREPARED_MIN", 10_000)
    names = ("naive", "distributed_transaction")
    finished = command.run_lab(names, ("increment",), clicks=2)
    command.conclude(finished, None)
    console = Console(width=200)
    console.print(reports.comparison(finished.rows))
    printed = capsys.readouterr()
    assert [bool(row.cells) for row in finished.rows] == [True, False]
    assert "Not run: distributed_transaction (needs a second database: " in printed.err
    assert "needs a second database" in printed.out
    with pytest.raises(CommandError, match=r"distributed_transaction \(needs a second"):
        command.run_lab(names[1], ("increment",), clicks=2)


@pytest.mark.django_db
def test_a_role_that_may_create_no_database_has_no_second_one() -> None:
    need_second_database()
    with connection.cursor() as cursor:
        cursor.execute("CREATE ROLE lab_without_createdb; SET LOCAL ROLE lab_without_createdb")
    assert not second_database.is_obtainable()


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (ONE, {"DEBUG": "false", "SECRET_KEY": "x" * 50, "HTTPS": "false"}, "DEBUG=true"),
        (ONE, {"DATABASE_POOLER": "true"}, "no pooler"),
        (ONE, {"DATABASE_URL": "postgres://u:p@127.0.0.1:1/none"}, "refused"),
        (REDIS_ONE, {"REDIS_URL": "redis://127.0.0.1:1/0"}, "refused"),
        (REDIS_ONE, {"REDIS_URL": "bogus"}, "REDIS_URL"),
        (REDIS_ONE, {"REDIS_URL": "", "PATH": "/nowhere"}, "needs Redis"),
        ((*ONE, "--clicks", "1"), {}, "2 to 25 clicks"),
        ((*ONE, "--clicks", "26"), {}, "2 to 25 clicks"),
        (("lab", "--clicks", "26"), {}, "from 1 to 25"),
        (("simulate", "increment"), {}, "name a --mechanism"),
        (("simulate", "rpc_retry", "--mechanism", "hope"), {}, "invalid choice: 'hope'"),
        (("simulate", "flood", "--mechanism", "naive"), {}, "invalid choice: 'flood'"),
    ],
)
def test_a_run_that_is_impossible_is_refused_in_a_line(
    arguments: tuple[str, ...], environment: dict[str, str], message: str, manage: Manage
) -> None:
    ran = manage(*arguments, **environment)
    assert ran.returncode == 2
    assert message in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_report_that_cannot_be_written_is_an_error_in_a_line(manage: Manage) -> None:
    ran = manage(*ONE, "--clicks", "2", "--json", "/proc/lab.json")
    assert ran.returncode == 1
    assert "The report was not written" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_redis_that_is_given_is_used_and_left_as_it_was(manage: Manage, redis: Any) -> None:
    pool = redis.connection_pool.connection_kwargs
    url = f"redis://:{pool['password']}@127.0.0.1:{pool['port']}/0"
    redis.flushall()
    ran = manage("simulate", "double_click", "--mechanism", "distributed_lock", REDIS_URL=url)
    assert ran.returncode == 0, ran.stderr
    assert redis.keys() == [b"lab:fence"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_run_leaves_no_process_and_the_next_run_drops_its_tables(
    number: signal.Signals, manage: Manage, transactional_db: None, tmp_path: Path
) -> None:
    url = database_url(connection.get_connection_params())
    with (tmp_path / "log").open("wb") as log:
        run = subprocess.Popen(
            [sys.executable, "manage.py", "lab"],
            cwd=ROOT,
            env=os.environ | {"DATABASE_URL": url},
            stdout=log,
            stderr=log,
        )
    with ended(run):
        until(lambda: count(SESSIONS) >= 3, what="the command and both servers are in the database")
        family = descendants(run.pid)
        assert len(family) >= 3
        run.send_signal(number)
        assert run.wait(60) == EXITS[number]
    assert number == signal.SIGKILL or count(SCHEMAS) == 0
    until(lambda: not any(map(is_running, family)), what="its processes are gone")
    assert "Traceback" not in (tmp_path / "log").read_text()
    assert manage(*ONE, "--clicks", "2").returncode == 0
    assert count(SCHEMAS) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_between_its_steps_and_never_within_one(number: signal.Signals) -> None:
    steps = []

    def run() -> None:
        with graceful_shutdown():
            os.kill(os.getpid(), number)
            steps.append("a lock that was taken is released")
            end_if_asked()
            steps.append("another step")

    before = signal.getsignal(number)
    try:
        with pytest.raises((KeyboardInterrupt, SystemExit)) as end:
            run()
    finally:
        after = signal.signal(number, before)
    assert len(steps) == 1
    assert getattr(end.value, "code", EXITS[number]) == EXITS[number]
    assert after == (signal.SIG_IGN if number == signal.SIGTERM else before)


def second_ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


def ctrl_c_while_it_waits() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    try:
        with Scheduler() as scheduler:
            scheduler.wait_until(lambda: False, "a condition that never holds")
    except LabError:
        pytest.fail("it went on waiting")


def ctrl_c_that_ended_its_servers_too() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    raise LabError("the servers have gone")


@pytest.mark.parametrize(
    "run", [second_ctrl_c, ctrl_c_while_it_waits, ctrl_c_that_ended_its_servers_too]
)
def test_ctrl_c_ends_a_run_and_is_what_ended_it(
    run: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab.harness.scheduler.WAIT_SECONDS_MAX", 1)
    with pytest.raises(KeyboardInterrupt):
        graceful_shutdown()(run)()
    end_if_asked()  # nobody asks any more


def test_who_ignores_a_signal_goes_on_ignoring_it() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with graceful_shutdown():
            os.kill(os.getpid(), signal.SIGTERM)
            end_if_asked()
    finally:
        signal.signal(signal.SIGTERM, before)


EXITS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -signal.SIGKILL}
SESSIONS = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE application_name LIKE 'lab\\_%' AND datname = current_database()"
)
SCHEMAS = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'lab\\_%'"


def count(sql: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return int(cursor.fetchone()[0])


def test_the_matrix_is_readable_in_eighty_columns() -> None:
    scenarios = tuple(SCENARIOS)
    rows = [MatrixRow(name, [], Cost(14, 1.0, 12.5)) for name in NAMES]
    for row in rows:
        for scenario in scenarios:
            expected = EXPECTED[row.mechanism].cell(scenario, clicks=25)
            measured = expected.charges, expected.duplicate_result
            row.cells.append(CellResult(scenario, *measured, expected, ()))
    out = Console(width=80, file=io.StringIO(), force_terminal=True, color_system=None)
    out.print(*reports.matrix(rows, scenarios, columns_max=80), sep="\n")
    lines = out.file.getvalue().splitlines()  # type: ignore[attr-defined]

    assert len(reports.matrix(rows, scenarios, columns_max=WIDTH_COLUMNS)) == 1
    assert max(map(len, lines)) <= 80
    assert sum(line.strip().startswith("token_select_then_delete") for line in lines) == 2
    assert not any("…" in line for line in lines), "nothing is cut off"
