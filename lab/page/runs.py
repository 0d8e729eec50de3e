"""The runs that the page starts: each a process of its own, with a recording that anyone can read.

A run's id is the UUID of the page that asked for it, so a duplicate of the form starts nothing:
the request that creates the recording starts the run. The process holds a lock on that file for as
long as it lives, so nothing has to be cleaned up where it dies.
"""

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import UUID

from django.conf import settings

from lab.harness.shutdown import die_with_parent
from lab.page import recording

FOLDER = settings.BASE_DIR / "var" / "lab"
RECORDINGS_MAX = 20
# What the web server alone needs: its counters, and its limits for its own connections.
NOT_FOR_A_RUN = frozenset({"PROMETHEUS_MULTIPROC_DIR", "DATABASE_IDLE_SECONDS"})


@dataclass(frozen=True)
class RunChoice:
    """The scenario, mechanisms and number of clicks chosen on the page."""

    scenario: str
    mechanisms: Sequence[str]
    clicks: int

    @property
    def arguments(self) -> list[str]:
        """The arguments of the command `lab` that runs it."""
        named = [f"--mechanism={name}" for name in self.mechanisms]
        return ["lab", f"--scenario={self.scenario}", *named, f"--clicks={self.clicks}"]


class AnotherRunUnderWay(Exception):
    """Another run is under way on this machine."""

    def __init__(self, run_id: UUID) -> None:
        super().__init__(run_id)
        self.run_id = run_id


def start(run_id: UUID, choice: RunChoice) -> None:
    """Start a run; a duplicate with the same UUID starts nothing, whatever it chose.

    :raises AnotherRunUnderWay: one run at a time
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    with _start_lock():
        if recording_of(run_id).exists():
            return
        if (other := under_way()) is not None:
            raise AnotherRunUnderWay(other)
        file = recording_of(run_id).open("x", encoding="utf-8")
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)  # the process inherits it
            file.write(f"{json.dumps(asdict(choice))}\n")
            file.flush()
            _spawn(choice, Path(file.name), lock=file.fileno())
        _delete_old_recordings()


def recording_of(run_id: UUID) -> Path:
    """Return the path of a run's recording; there is a file if there is such a run."""
    return Path(FOLDER, f"{run_id}.jsonl")


def under_way() -> UUID | None:
    """Return the run that is under way now."""
    for file in FOLDER.glob("*.jsonl"):
        if has_process(file) and not recording.read(file).is_over:
            return UUID(file.stem)
    return None


def has_process(file: Path) -> bool:
    """Return True if the process that writes a recording lives."""
    try:
        with file.open("rb") as recorded:
            # Shared: readers hinder neither each other nor the process.
            fcntl.flock(recorded, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


@contextlib.contextmanager
def _start_lock() -> Iterator[None]:
    """Let one request at a time start a run; the next one sees the first one's recording."""
    with Path(FOLDER, "start.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _spawn(choice: RunChoice, file: Path, *, lock: int) -> None:
    """Start the run's process, and return when it has the lock."""
    command = [sys.executable, "manage.py", *choice.arguments, f"--watch={file}", "--skip-checks"]
    has_begun = threading.Event()

    def run() -> None:
        # In a thread that lives as long as the run: the kernel ends a run whose starter has gone.
        try:
            process = subprocess.Popen(
                [*die_with_parent("TERM"), *command],
                cwd=settings.BASE_DIR,
                env={name: os.environ[name] for name in os.environ.keys() - NOT_FOR_A_RUN},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[lock],
                process_group=0,
            )
        finally:
            has_begun.set()
        process.wait()

    threading.Thread(target=run, daemon=True).start()
    has_begun.wait()


def _delete_old_recordings() -> None:
    files = sorted(FOLDER.glob("*.jsonl"), key=lambda file: file.stat().st_mtime, reverse=True)
    for old in files[RECORDINGS_MAX:]:
        if not has_process(old):
            old.unlink()
