"""The project's WSGI application with its failpoints armed by files; only tests start it."""

import os
import signal
import time
from pathlib import Path

from tests.support import clock  # isort: skip  # first: it may be wrong by then
from config.wsgi import application
from idempotency import failpoints
from lab.page import runs

__all__ = ["application", "clock"]

FOLDER = Path(os.environ["FAULT_FOLDER"])


def strike(point: str) -> None:
    """Do what the first armed file of this point says; `rename` gives it to one process only."""
    for armed in sorted(FOLDER.glob(f"{point}.*")):
        fault = armed.suffix[1:]
        if fault not in {"kill", "hold", "error"}:
            continue
        try:
            armed.rename(armed.with_suffix(".holding" if fault == "hold" else ".hit"))
        except FileNotFoundError:
            continue
        act(point, fault, armed)
        return


def act(point: str, fault: str, armed: Path) -> None:
    if fault == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == "error":
        raise RuntimeError(f"fault at {point}")
    armed.with_suffix(".hit").touch()
    while not (FOLDER / f"{point}.released").exists():
        time.sleep(0.005)
    armed.with_suffix(".holding").unlink()


failpoints.install(strike)
runs.FOLDER = FOLDER / "lab"  # of this server's own: only so many runs may be under way in one
