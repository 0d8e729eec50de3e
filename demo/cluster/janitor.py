"""Removes the cluster when whoever started it has ended, also by kill -9."""

import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from demo.cluster import network, places
from demo.processes import ROOT, say


@contextmanager
def fresh_hosts(needed: Iterable[str]) -> Iterator[None]:
    """Make hosts, and remove them with whatever runs there, also if this process is killed."""
    janitor = subprocess.Popen(
        [sys.executable, "-m", "demo.cluster.janitor"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        process_group=0,
    )
    assert janitor.stdin is not None
    assert janitor.stdout is not None
    try:
        janitor.stdout.readline()  # what an earlier run has left is gone
        places.make_folders(needed)
        network.create(needed)
        yield
    finally:
        janitor.stdin.close()  # now it removes everything
        janitor.wait()


def run_on(host: str, *arguments: str) -> int:
    """Run this Python on one of the hosts, in the foreground; return its exit code."""
    command = network.command_on(host, sys.executable, *arguments)
    with subprocess.Popen(command, cwd=ROOT) as child:
        return child.wait()


def main() -> None:
    """Remove what an earlier run left; say so; wait for the end of this run; remove it all."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    _remove()
    say("ready")
    sys.stdin.read()  # ends with the process at the other end
    _remove()


def _remove() -> None:
    network.remove()
    places.remove()


if __name__ == "__main__":
    main()
