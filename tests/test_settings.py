"""What a wrong environment says, in one line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MANAGE = ["manage.py", "check"]
GUNICORN = ["-m", "gunicorn", "--config", "config/gunicorn.py"]


def run(command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("command", [MANAGE, GUNICORN])
def test_production_without_a_secret_key_does_not_start(command: list[str]) -> None:
    ran = run(command, DEBUG="false", DATABASE_URL="postgres://nobody@127.0.0.1:1/none")
    assert ran.returncode == 1
    assert ran.stderr.startswith("SECRET_KEY is not set.")
    assert ran.stderr.count("\n") == 1


@pytest.mark.parametrize("url", ["sqlite:///shop.db", "nonsense", "mysql://user@host/shop"])
def test_a_database_that_is_no_postgresql_is_refused(url: str) -> None:
    ran = run(MANAGE, DEBUG="true", DATABASE_URL=url)
    assert ran.returncode == 1
    assert ran.stderr.strip().splitlines()[-1].startswith("DATABASE_URL must name a PostgreSQL")
