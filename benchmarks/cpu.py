"""The CPU time of other processes, as Linux counts it."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psycopg

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
HERE = {"127.0.0.1", "::1", "localhost"}
PARENT, OWN, WITH_ENDED = 1, slice(11, 13), slice(11, 15)  # of the fields from the state on


def of_family(root: int) -> float:
    """Return the seconds that a process, its children and those that have ended have used."""
    processes = [_fields(int(each.name)) for each in Path("/proc").glob("[0-9]*")]
    used = [fields[OWN] for fields in processes if fields and int(fields[PARENT]) == root]
    ticks = sum(int(each) for times in (*used, _fields(root)[WITH_ENDED]) for each in times)
    return ticks / TICKS_PER_SECOND


def of_all(pids: Iterable[int]) -> float:
    """Return the seconds that processes, and their children that have ended, have used."""
    ticks = sum(int(each) for pid in pids for each in _fields(pid)[WITH_ENDED])
    return ticks / TICKS_PER_SECOND


def postmaster(session: psycopg.Connection[Any]) -> int | None:
    """Return the process that starts PostgreSQL's others; None: it is on another machine."""
    backend = session.info.backend_pid
    try:
        name = Path(f"/proc/{backend}/comm").read_text().strip()
    except OSError:
        return None
    is_here = session.info.host in HERE or session.info.host.startswith("/")
    return int(_fields(backend)[PARENT]) if is_here and name == "postgres" else None


def _fields(pid: int) -> list[str]:
    """Return a process's stat from its state on; of one that is gone nothing."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
