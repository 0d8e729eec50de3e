"""The director of a scene: holds clicks at their fault points, kills there, or hangs up.

A schedule that would need luck is made certain: a click that has looked is held until everybody
else has looked as well, waits for a lock, or has been answered.
"""

import contextlib
import json
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any, Self

from lab.harness.recorder import Note, Unrecorded
from lab.harness.shutdown import may_end

PATIENCE = 60  # seconds until a scene that doesn't come about is given up


class LabBroken(Exception):
    """The scene didn't come about, so what was counted in it would mean nothing."""


class Director:
    """Hears from every watched click at every point, and answers what shall happen there.

    :param note: hears of it as well, and of every click that goes on
    """

    def __init__(self, note: Note | None = None) -> None:
        self.note = note or Unrecorded().note
        self._stage_door = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._stage_door.getsockname()[1]
        self._lock = threading.Lock()
        self._orders: defaultdict[tuple[int, str], list[str]] = defaultdict(list)
        self._lines: dict[int, socket.socket] = {}
        self.waiting: set[int] = set()
        self.carried_out: list[str] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._stage_door.shutdown(socket.SHUT_RDWR)
        self._stage_door.close()
        self.release(*self.held)

    def order(self, click: int, point: str, what: str, *, times: int = 1) -> None:
        """Have a click `hold` at a point, `kill` its server there, or `drop` its answer."""
        with self._lock:
            self._orders[click, point] += [what] * times

    @property
    def held(self) -> set[int]:
        """The clicks that stand at a point now."""
        with self._lock:
            return set(self._lines)

    def go_on(self, *clicks: int) -> None:
        """Let clicks go on from where they are held, to the next point."""
        with self._lock:
            for click in clicks:
                if line := self._lines.pop(click, None):
                    self.note("goes-on", click=click)
                    _reply(line, "go")

    def release(self, *clicks: int) -> None:
        """Let clicks go on, and hold them no more."""
        with self._lock:
            for key in [key for key in self._orders if key[0] in clicks]:
                del self._orders[key]
        self.go_on(*clicks)

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for a condition, not for a time; the place where a run ends that is told to."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            may_end()
            if time.monotonic() > deadline:
                raise LabBroken(f"{what}: not within {PATIENCE} s")
            time.sleep(0.003)

    def _listen(self) -> None:
        while True:
            try:
                line, _ = self._stage_door.accept()
            except OSError:
                return
            if report := _report(line):
                self._decide(line, **report)
            else:
                line.close()

    def _decide(self, line: socket.socket, click: int, point: str, **facts: Any) -> None:
        with self._lock:
            orders = self._orders.get((click, point))
            what = orders.pop(0) if orders else "go"
            if point != "waiting" or click not in self.waiting:  # it says so again and again
                self.note(point, click=click, what=what, **facts)
            (self.waiting.add if point == "waiting" else self.waiting.discard)(click)
            if what == "hold":
                self._lines[click] = line
                return
            if what != "go":
                self.carried_out.append(what)
        _reply(line, what)


def _report(line: socket.socket) -> dict[str, Any] | None:
    """Return what a shop reports: a click and its point; None if it was killed meanwhile."""
    try:
        with line.makefile(encoding="utf-8") as said:
            text = said.readline()
    except OSError:
        return None
    report: dict[str, Any] | None = json.loads(text) if text.endswith("\n") else None
    return report


def _reply(line: socket.socket, what: str) -> None:
    with contextlib.suppress(OSError), line:
        line.sendall(what.encode())
