"""Run the suite on every Python from 3.11 on that this machine has: `make test-matrix`.

The one lock chooses Django 5.2 for Python 3.11 and Django 6.1 for 3.12 and newer. The wheel of
idempotency/ is tested on each Python with each Django that runs on it, on the embedded PostgreSQL
and on Debian's. `python -m tests.support.matrix package` runs this part alone.
"""

import os
import re
import shutil
import subprocess
import sys
from contextlib import ExitStack
from itertools import product
from pathlib import Path

from tests.support.debian_postgres import BINARIES, debian_postgres

ROOT = Path(__file__).resolve().parents[2]
SETTINGS_OF_THE_APP = "idempotency.tests.project.settings"
DJANGOS = {"5.2": "3.11", "6.1": "3.12"}  # and the oldest Python that each runs on


def main() -> int:
    """Return 0 when every interpreter passed."""
    found, results = sorted(interpreters().items()), {}
    if sys.argv[1:] != ["package"]:
        results = {f"Python {version}": run(version, python) for version, python in found}
    results |= package_cells(dict(found))
    for cell, passed in results.items():
        sys.stdout.write(f"{cell}: {'passed' if passed else 'FAILED'}\n")
    return 0 if results and all(results.values()) else 1


def package_cells(found: dict[str, str]) -> dict[str, bool]:
    """Test the wheel of idempotency/ in every cell that can be on this machine."""
    results = {}
    with ExitStack() as servers:
        urls: dict[str, str | None] = {"embedded": None}
        for initdb in BINARIES:
            urls[initdb.parts[-3]] = servers.enter_context(debian_postgres(initdb))
        for version, django in product(found, DJANGOS):
            if DJANGOS[django] <= version:
                for postgres, url in urls.items():
                    cell = f"wheel, Python {version}, Django {django}, PostgreSQL {postgres}"
                    results[cell] = run_package(found[version], django, url)
    return results


def run_package(python: str, django: str, url: str | None) -> bool:
    """Run the tests of the wheel in one cell."""
    environment = os.environ | {"PACKAGE_PYTHON": python, "PACKAGE_DJANGO": django}
    environment |= {} if url is None else {"DATABASE_URL": url}
    command = [sys.executable, "-m", "pytest", "-q", "--ds", SETTINGS_OF_THE_APP]
    command.append("idempotency/tests/test_installed.py")
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode == 0


def interpreters() -> dict[str, str]:
    """Return one working interpreter for each version: on the PATH, or pyenv's."""
    candidates = [sys.executable]
    candidates += filter(None, (shutil.which(f"python3.{minor}") for minor in range(11, 20)))
    candidates += map(str, (Path.home() / ".pyenv" / "versions").glob("3.*/bin/python3"))
    found: dict[str, str] = {}
    for candidate in candidates:
        code = "import sys; print('%d.%d' % sys.version_info[:2])"
        asked = subprocess.run([candidate, "-c", code], capture_output=True, text=True, check=False)
        version = asked.stdout.strip()
        if asked.returncode == 0 and re.fullmatch(r"3\.(1[1-9])", version):
            found.setdefault(version, candidate)
    return found


def run(version: str, python: str) -> bool:
    """Install the lock for one interpreter and run migrations' check and the tests."""
    place = ROOT / f".venv-{version}"
    ours = place / "bin" / "python"
    environment = os.environ | {"EMBEDDED_POSTGRES_HOME": str(ROOT / "var" / f"postgres-{version}")}
    quiet = ("--quiet", "--disable-pip-version-check", "--require-hashes")
    commands: list[tuple[str | Path, ...]] = [
        (python, "-m", "venv", place),
        (ours, "-m", "pip", "install", *quiet, "-r", "requirements-dev.txt"),
        (ours, "-m", "django", "--version"),
        (ours, "manage.py", "makemigrations", "--check", "--dry-run"),
        (ours, "-m", "pytest", "-q"),
        (ours, "-m", "pytest", "-q", "idempotency/tests", "--ds", SETTINGS_OF_THE_APP),
    ]
    return all(
        subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode == 0
        for command in commands
    )


if __name__ == "__main__":
    sys.exit(main())
