"""A clean environment, of this interpreter and Django or PACKAGE_PYTHON and PACKAGE_DJANGO."""

import os
import subprocess
import sys
import venv
from importlib.metadata import distributions
from pathlib import Path


def run(*command: str | Path, folder: Path, **environment: str) -> str:
    """Run a command, which must succeed, away from this checkout; return what it printed."""
    passed_on = ("PATH", "HOME", "PIP_", "SSL_", "REQUESTS_", "http", "HTTP", "no_proxy", "LANG")
    inherited = {name: value for name, value in os.environ.items() if name.startswith(passed_on)}
    done = subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env=inherited | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def clean_environment(folder: Path, *requirements: str) -> Path:
    """Return the interpreter of a new environment that holds these requirements alone."""
    chosen, place = os.environ.get("PACKAGE_PYTHON"), folder / "environment"
    if chosen:
        run(chosen, "-m", "venv", "--without-pip", place, folder=folder)
    else:
        venv.create(place, with_pip=False)
    constraints = folder / "constraints.txt"
    constraints.write_text("\n".join(versions()))
    install = ["install", "--quiet", "--disable-pip-version-check", "-c", str(constraints)]
    python = place / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python)
    run(*pip, *install, *requirements, folder=folder)
    assert "No broken requirements" in run(*pip, "check", folder=folder)
    return python


def versions() -> list[str]:
    """Return the versions that are tested: this environment's, or another Django and the newest."""
    if wanted := os.environ.get("PACKAGE_DJANGO"):
        return [f"Django=={wanted}.*"]
    return [f"{each.name}=={each.version}" for each in distributions() if each.name != "pip"]
