"""Removes the cluster when whoever started it has ended, also by kill -9."""

import signal
import sys

from demo.cluster import network, places
from demo.processes import say


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
