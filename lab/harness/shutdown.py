"""How a process is tied to the one that started it, and how it ends after a signal."""

import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_received: list[signal.Signals] = []  # the signals that ask this process to end


def die_with_parent(signal_name: str) -> list[str]:
    """Return a command prefix: the kernel sends the signal when the parent ends, even by kill -9.

    The parent is the very thread that starts the command, so that thread must live as long.

    :param signal_name: such as TERM
    """
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", signal_name] if setpriv else []


@contextmanager
def graceful_shutdown() -> Iterator[None]:
    """Have SIGINT and SIGTERM end the block where it next calls `end_if_asked`, or at its end.

    The exception of a signal handler comes between any two instructions: also between taking a
    lock and the `with` that releases it, and then threads wait for ever. A second SIGINT raises
    such an exception, for a user who has waited long enough.

    :raises KeyboardInterrupt: after SIGINT
    :raises SystemExit: after SIGTERM; further ones are ignored from then on
    """

    def end(number: int, _: Any) -> None:
        if number == signal.SIGINT and number in _received:
            raise KeyboardInterrupt
        _received.append(signal.Signals(number))

    _received.clear()
    handled = {signal.SIGINT, signal.SIGTERM}
    before = {n: signal.signal(n, end) for n in handled if signal.getsignal(n) != signal.SIG_IGN}
    try:
        yield
        end_if_asked()
    except Exception:
        end_if_asked()  # the signal may have ended other processes, and so caused this error
        raise
    finally:
        # The kernel repeats it for each thread of a server that ends, and we may be writing.
        before |= {number: signal.SIG_IGN for number in _received if number == signal.SIGTERM}
        for number, handler in before.items():
            signal.signal(number, handler)
        _received.clear()


def end_if_asked() -> None:
    """End here if a signal has asked for it."""
    for number in _received:
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        sys.exit(128 + number)
