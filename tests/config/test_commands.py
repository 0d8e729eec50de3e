"""Commands of manage.py that can't reach the database."""

import os
import subprocess
import sys

import pytest

from tests.support.live import ROOT, free_port

SECRET = "s3cret"


def run(*command: str) -> subprocess.CompletedProcess[str]:
    url = f"postgres://shop:{SECRET}@127.0.0.1:{free_port()}/shop"
    environment = {"PATH": os.environ["PATH"], "DEBUG": "true", "DATABASE_URL": url}
    return subprocess.run(
        [sys.executable, "manage.py", *command],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("command", ["migrate", "audit", "seed_demo"])
def test_an_unreachable_database_is_one_line_without_its_password(command: str) -> None:
    ran = run(command)
    (line,) = ran.stderr.splitlines()
    assert ran.returncode == 1
    assert line.startswith("The database can't be reached: ")
    assert "Connection refused" in line
    assert SECRET not in ran.stderr + ran.stdout


def test_whoever_asks_for_the_traceback_gets_it() -> None:
    assert "Traceback" in run("migrate", "--traceback").stderr
