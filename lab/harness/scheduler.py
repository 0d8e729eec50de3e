"""The scheduler of a scenario run: holds clicks at failpoints, kills servers, drops responses.

It makes a schedule that would need luck certain: a click that has checked is held until every
other click has checked as well, waits for a lock, or has its response.
"""

import contextlib
import json
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any, Self

from lab.harness.recorder import NullRecorder, RecordEvent
from lab.harness.shutdown import end_if_asked

WAIT_SECONDS_MAX = 60  # then a schedule that doesn't come about is given up


class LabError(Exception):
    """The scenario could not be run as written, so its counts would mean nothing."""


class Scheduler:
    """Receives a report from every watched click at every failpoint, and replies with an action.

    :param record: records each report, and each click that goes on
    """

    def __init__(self, record: RecordEvent | None = None) -> None:
        self.record = record or NullRecorder().record
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._actions: defaultdict[tuple[int, str], list[str]] = defaultdict(list)
        self._connections: dict[int, socket.socket] = {}
        self.waiting: set[int] = set()
        self.faults: list[str] = []  # the actions other than `go` that were carried out

    def __enter__(self) -> Self:
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.release(*self.held)

    def schedule(self, click: int, failpoint: str, action: str, *, times: int = 1) -> None:
        """Have a click `hold` at a failpoint, `kill` its server there, or `drop` its response."""
        with self._lock:
            self._actions[click, failpoint] += [action] * times

    @property
    def held(self) -> set[int]:
        """The clicks that are held at a failpoint now."""
        with self._lock:
            return set(self._connections)

    def resume(self, *clicks: int) -> None:
        """Let held clicks go on to their next failpoint."""
        with self._lock:
            for click in clicks:
                if connection := self._connections.pop(click, None):
                    self.record("resumed", click=click)
                    _reply(connection, "go")

    def release(self, *clicks: int) -> None:
        """Let clicks go on, and cancel every action scheduled for them."""
        with self._lock:
            for key in [key for key in self._actions if key[0] in clicks]:
                del self._actions[key]
        self.resume(*clicks)

    def wait_until(self, condition: Callable[[], bool], description: str) -> None:
        """Wait for a condition, not for a time; a run that a signal asked to end, ends here."""
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while not condition():
            end_if_asked()
            if time.monotonic() > deadline:
                raise LabError(f"{description}: not within {WAIT_SECONDS_MAX} s")
            time.sleep(0.003)

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            if report := _read_report(connection):
                self._decide(connection, **report)
            else:
                connection.close()

    def _decide(self, connection: socket.socket, click: int, failpoint: str, **facts: Any) -> None:
        with self._lock:
            actions = self._actions.get((click, failpoint))
            action = actions.pop(0) if actions else "go"
            if failpoint != "waiting" or click not in self.waiting:  # it reports each try
                self.record(failpoint, click=click, action=action, **facts)
            (self.waiting.add if failpoint == "waiting" else self.waiting.discard)(click)
            if action == "hold":
                self._connections[click] = connection
                return
            if action != "go":
                self.faults.append(action)
        _reply(connection, action)


def _read_report(connection: socket.socket) -> dict[str, Any] | None:
    """Return a server's report: a click and its failpoint; None if the server was killed."""
    try:
        with connection.makefile(encoding="utf-8") as lines:
            line = lines.readline()
    except OSError:
        return None
    report: dict[str, Any] | None = json.loads(line) if line.endswith("\n") else None
    return report


def _reply(connection: socket.socket, action: str) -> None:
    with contextlib.suppress(OSError), connection:
        connection.sendall(action.encode())
