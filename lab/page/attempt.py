"""One attempt of a click, rebuilt from the recorded events: its times, activities and kind.

A click that the client library retries has several attempts, each shown by itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from math import inf
from typing import Any

from lab.expected import ERROR, FIRST, NEW, NO_RESPONSE


class Activity(StrEnum):
    """The activity of an attempt at a given time."""

    WORKING = "working"
    WAITING = "waiting"
    HELD = "held"


class AttemptKind(StrEnum):
    """The result of an attempt; the value is its CSS class."""

    UNDER_WAY = "under-way"
    EXECUTED = "executed"
    DUPLICATE_CHARGE = "duplicate-charge"
    REPLAYED = "replayed"
    REFUSED = "refused"
    UNPAID = "unpaid"
    KILLED = "killed"
    SERVER_ERROR = "server-error"


CHARGED = frozenset({AttemptKind.EXECUTED, AttemptKind.DUPLICATE_CHARGE})
# The activity that an event begins; any other event begins WORKING.
BEGINS = {"waiting": Activity.WAITING, "blocked": Activity.WAITING}


@dataclass
class ClickAttempt:
    """A request that a click sent to a server, or that the client library sent as a retry."""

    click: int
    order: str
    sent: float
    arrived: float | None = None
    ended: float | None = None  # at the server: responded, or killed
    received: float | None = None
    commit_began: float = inf
    committed: float | None = None
    status: int | None = None
    text: str = ""
    result: str = ""  # of the response, in the words of lab/expected.py
    fault: str = ""  # "drop" or "kill", where the scheduler did that
    kind: AttemptKind = AttemptKind.UNDER_WAY
    begun: list[tuple[Activity, float]] = field(default_factory=list)  # each activity's start

    def apply(self, event: dict[str, Any]) -> None:
        """Apply an event of this attempt."""
        name, ms, action = event["event"], event["ms"], event.get("action", "")
        if name == "received":
            self.received = ms
            return
        activity = Activity.HELD if action == "hold" else BEGINS.get(name, Activity.WORKING)
        if not self.begun or self.begun[-1][0] != activity:
            self.begun.append((activity, ms))
        if name == "before-commit":
            self.commit_began = ms
        elif name == "after-commit":
            self.committed = ms
        elif name == "responded":
            self.ended, self.status, self.text = ms, event["status"], event["text"]
        if action == "kill":
            self.ended = ms
        self.fault = action if action in {"kill", "drop"} else self.fault

    def activities(self, now: float) -> Iterator[tuple[Activity, float, float]]:
        """Yield each activity with its start and its end."""
        until = now if self.ended is None else self.ended
        for (activity, since), (_, end) in pairwise([*self.begun, (Activity.WORKING, until)]):
            if min(end, until) > since:
                yield activity, since, min(end, until)

    def waited_ms(self, now: float) -> float:
        """Return how many milliseconds it waited for a lock."""
        spans = self.activities(now)
        return sum(end - since for activity, since, end in spans if activity == Activity.WAITING)

    @property
    def received_result(self) -> str:
        """The result that the customer, or the client library, got."""
        return NO_RESPONSE if self.fault else self.result

    @property
    def died_after_commit(self) -> bool:
        return self.fault == "kill" and self.committed is not None

    def classify(self) -> AttemptKind:
        """Return the kind of the attempt, as far as it shows without the other attempts."""
        if self.fault == "kill":
            return AttemptKind.EXECUTED if self.died_after_commit else AttemptKind.KILLED
        if self.result in {FIRST, NEW}:
            return AttemptKind.EXECUTED
        if self.result == ERROR:
            return AttemptKind.REFUSED
        return AttemptKind.SERVER_ERROR if self.result else AttemptKind.UNDER_WAY
