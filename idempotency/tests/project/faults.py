"""Failpoints that files arm: a file `executed.kill` in FAULT_FOLDER kills this process there."""

import os
import signal
from pathlib import Path

from idempotency import failpoints

FOLDER = Path(os.environ["FAULT_FOLDER"])


def strike(point: str) -> None:
    """Die where the point is armed; the renamed file says that it happened, and disarms it."""
    armed = FOLDER / f"{point}.kill"
    if armed.exists():
        armed.rename(FOLDER / f"{point}.hit")
        os.kill(os.getpid(), signal.SIGKILL)


failpoints.install(strike)
