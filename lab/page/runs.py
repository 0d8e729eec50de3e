"""The runs that the page starts: each a process of its own, with a record that everybody can read.

A run is known by the UUID of the page that asked for it, so asking again starts nothing: whoever
creates the record's file has started the run. The process holds a lock on that file for as long as
it lives, so nothing has to be cleared away where it dies.
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

from lab.harness.shutdown import ends_with_us
from lab.page import timeline

FOLDER = settings.BASE_DIR / "var" / "lab"
KEPT = 20
# What the web server alone needs: its counters, and its limits for its own connections.
NOT_FOR_A_RUN = frozenset({"PROMETHEUS_MULTIPROC_DIR", "DATABASE_IDLE_SECONDS"})


@dataclass(frozen=True)
class Choice:
    """What somebody wants to see."""

    scenario: str
    mechanisms: Sequence[str]
    clicks: int

    @property
    def arguments(self) -> list[str]:
        """The command `lab` that plays it."""
        named = [f"--mechanism={name}" for name in self.mechanisms]
        return ["lab", f"--scenario={self.scenario}", *named, f"--clicks={self.clicks}"]


class Busy(Exception):
    """Another run is under way on this machine."""

    def __init__(self, run: UUID) -> None:
        super().__init__(run)
        self.run = run


def start(run: UUID, choice: Choice) -> None:
    """Start a run; a repeat under the same UUID starts nothing, whatever it chose.

    :raises Busy: another one is under way
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    with _one_at_a_time():
        if record_of(run).exists():
            return
        if (other := under_way()) is not None:
            raise Busy(other)
        file = record_of(run).open("x", encoding="utf-8")
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)  # the process inherits it
            file.write(f"{json.dumps(asdict(choice))}\n")
            file.flush()
            _play(choice, Path(file.name), lock=file.fileno())
        _forget_old_ones()


def record_of(run: UUID) -> Path:
    """Return the file that a run's record is in, if there is such a run."""
    return Path(FOLDER, f"{run}.jsonl")


def under_way() -> UUID | None:
    """Return the run that is being played now."""
    for file in FOLDER.glob("*.jsonl"):
        if is_played(file) and not timeline.read(file).is_over:
            return UUID(file.stem)
    return None


def is_played(file: Path) -> bool:
    """Say whether a run's process lives."""
    try:
        with file.open("rb") as record:
            # Shared: whoever looks is in nobody's way, and in no other's who looks.
            fcntl.flock(record, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Have the second who starts a run at the same instant find the first one's file."""
    with Path(FOLDER, "start.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _play(choice: Choice, record: Path, *, lock: int) -> None:
    """Start the process that plays, and return when it has the lock."""
    command = [sys.executable, "manage.py", *choice.arguments, f"--watch={record}", "--skip-checks"]
    has_begun = threading.Event()

    def play() -> None:
        # In a thread that lives as long as the run: the kernel ends a run whose starter has gone.
        try:
            process = subprocess.Popen(
                [*ends_with_us("TERM"), *command],
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

    threading.Thread(target=play, daemon=True).start()
    has_begun.wait()


def _forget_old_ones() -> None:
    files = sorted(FOLDER.glob("*.jsonl"), key=lambda file: file.stat().st_mtime, reverse=True)
    for old in files[KEPT:]:
        if not is_played(old):
            old.unlink()
