"""What ties a process to the one that started it, and how it ends when it is told to."""

import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_told: list[signal.Signals] = []  # the signals that asked this process to end


def ends_with_us(told: str) -> list[str]:
    """Return what has the kernel send a command a signal when its parent ends, even by kill -9.

    The parent is the very thread that starts it: let that one live as long as the command shall.

    :param told: the signal's name, such as TERM
    """
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", told] if setpriv else []


@contextmanager
def ends_in_order() -> Iterator[None]:
    """Have SIGINT and SIGTERM end the block where it calls `may_end`, at its own end at the latest.

    The exception of a signal handler comes between any two instructions: also between a lock that
    was taken and the `with` that gives it back, and then threads wait for ever. A second SIGINT is
    such an exception, for somebody who has waited long enough.

    :raises KeyboardInterrupt: it was SIGINT
    :raises SystemExit: it was SIGTERM; further ones are ignored from then on
    """

    def end(number: int, _: Any) -> None:
        if number == signal.SIGINT and number in _told:
            raise KeyboardInterrupt
        _told.append(signal.Signals(number))

    _told.clear()
    heard = {signal.SIGINT, signal.SIGTERM}
    before = {n: signal.signal(n, end) for n in heard if signal.getsignal(n) != signal.SIG_IGN}
    try:
        yield
        may_end()
    except Exception:
        may_end()  # the signal may have been for others too, and that is why this came apart
        raise
    finally:
        # The kernel says it again for each thread of a server that ends, and we may be writing.
        before |= {number: signal.SIG_IGN for number in _told if number == signal.SIGTERM}
        for number, handler in before.items():
            signal.signal(number, handler)


def may_end() -> None:
    """End here if a signal has asked for it."""
    for number in _told:
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        sys.exit(128 + number)
