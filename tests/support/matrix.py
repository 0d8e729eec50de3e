"""Run the suite on every Python from 3.11 on that this machine has: `make test-matrix`.

The one lock chooses Django 5.2 for Python 3.11 and Django 6.1 for 3.12 and newer.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Return 0 when every interpreter passed."""
    results = {version: run(version, python) for version, python in sorted(interpreters().items())}
    for version, passed in results.items():
        sys.stdout.write(f"Python {version}: {'passed' if passed else 'FAILED'}\n")
    return 0 if results and all(results.values()) else 1


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
        (ours, "-m", "pytest", "-q", "idempotency/tests", "--ds", "idempotency.tests.settings"),
    ]
    return all(
        subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode == 0
        for command in commands
    )


if __name__ == "__main__":
    sys.exit(main())
