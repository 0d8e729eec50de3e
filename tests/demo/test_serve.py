"""`make serve`: from nothing to a server that pays, and back to nothing with Ctrl-C."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from demo import serve
from tests.support.live import ROOT, ended, free_port, until


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An embedded PostgreSQL of the test's own, removed afterwards."""
    own = os.environ | {"EMBEDDED_POSTGRES_HOME": str(tmp_path / "postgres"), "DEBUG": "true"}
    own.pop("DATABASE_URL", None)
    yield own
    command = [sys.executable, "-m", "embedded_postgres", "remove"]
    subprocess.run(command, cwd=ROOT, env=own, check=True)


@pytest.mark.parametrize(
    "command", [("audit",), ("lab", "ARGS=--mechanism interceptor --clicks 2")], ids=lambda c: c[0]
)
def test_a_command_of_make_works_in_a_checkout_where_nothing_was_run_before(
    command: tuple[str, ...], environment: dict[str, str]
) -> None:
    if not (ROOT / ".venv" / "runtime").exists():
        pytest.skip("make works with .venv, and these tests run in another environment")
    ran = subprocess.run(
        ["make", *command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr


def test_the_lab_on_an_empty_database_names_what_is_missing(environment: dict[str, str]) -> None:
    command = ["manage.py", "simulate", "increment", "--mechanism", "interceptor"]
    ran = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 2
    assert "run manage.py migrate" in ran.stderr


def children(pid: int) -> set[int]:
    """Return the processes that a process has started and that still run."""
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def dsn(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Return the address of the embedded PostgreSQL, if it runs."""
    return subprocess.run(
        [sys.executable, "-m", "embedded_postgres", "dsn"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_stops_everything_that_was_started(
    end: signal.Signals, environment: dict[str, str], tmp_path: Path
) -> None:
    port, log = free_port(), tmp_path / "log"
    with log.open("wb") as output:
        serving = subprocess.Popen(
            [sys.executable, "-m", "demo.serve", "--port", str(port)],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    with ended(serving):
        until(lambda: b"Serving until Ctrl-C" in log.read_bytes(), seconds=180, what=str(log))
        response = urllib3.request("GET", f"http://127.0.0.1:{port}/readyz", retries=False)
        database = dsn(environment)
        started = children(serving.pid)

        serving.send_signal(end)

        assert serving.wait(60) == 0, log.read_text()
    first, second, third, *_ = log.read_text().splitlines()
    assert (first, third) == ("Setting up the database …", "Starting the web server …")
    assert second.startswith("Demo customers: ")
    assert response.status == 200
    assert database.stdout.startswith("postgresql://")
    assert started
    assert not any(Path(f"/proc/{pid}").exists() for pid in started)
    stopped = dsn(environment)
    assert "not running" in stopped.stderr


def test_a_second_signal_does_not_come_between_a_process_and_its_end() -> None:
    """As with make, where a signal to the whole group arrives twice."""
    both = (signal.SIGINT, signal.SIGTERM)
    before = {each: signal.getsignal(each) for each in both}
    try:
        with pytest.raises(KeyboardInterrupt):
            serve.interrupt(signal.SIGTERM, None)
        assert [signal.getsignal(each) for each in both] == [signal.SIG_IGN] * 2
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
