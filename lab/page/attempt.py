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


class Part(StrEnum):
    """A part of an attempt's bar."""

    CHECK = "check"
    WAIT = "wait"
    CHARGE = "charge"
    NO_CHARGE = "no charge"
    COMMIT = "commit"
    RESPOND = "respond"


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
UNCHARGED = frozenset(
    {AttemptKind.REPLAYED, AttemptKind.REFUSED, AttemptKind.UNPAID, AttemptKind.SERVER_ERROR}
)
# The part that an event ends.
ENDS = {
    "waiting": Part.CHECK,
    "checked": Part.CHECK,
    "half-prepared": Part.CHARGE,
    "before-commit": Part.CHARGE,
    "half-committed": Part.COMMIT,
    "after-commit": Part.COMMIT,
    "responded": Part.RESPOND,
}
# The activity that an event begins; any other event begins WORKING.
BEGINS = {"waiting": Activity.WAITING, "blocked": Activity.WAITING}


@dataclass(frozen=True)
class Span:
    """A span of an attempt's bar: its activity and part, and the statements of that part."""

    activity: Activity
    part: Part
    statements: tuple[str, ...]
    since: float
    until: float


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
    begun: list[tuple[Activity, dict[str, Any]]] = field(default_factory=list)  # by which event
    ends: list[dict[str, Any]] = field(default_factory=list)  # the event that ended each part

    def apply(self, event: dict[str, Any]) -> None:
        """Apply an event of this attempt."""
        name, ms, action = event["event"], event["ms"], event.get("action", "")
        if name == "received":
            self.received = ms
            return
        activity = Activity.HELD if action == "hold" else BEGINS.get(name, Activity.WORKING)
        self.begun.append((activity, event))
        if name in ENDS:
            self.ends.append(event)
        if name == "before-commit":
            self.commit_began = ms
        elif name == "after-commit":
            self.committed = ms
        elif name == "responded":
            self.ended, self.status, self.text = ms, event["status"], event["text"]
        if action == "kill":
            self.ended = ms
        self.fault = action if action in {"kill", "drop"} else self.fault

    def spans(self, now: float) -> Iterator[Span]:
        """Yield the spans from one event to the next, in order."""
        until = now if self.ended is None else self.ended
        for (activity, event), (_, after) in pairwise([*self.begun, (None, {"ms": until})]):
            since, end = event["ms"], min(after["ms"], until)
            if activity and end > since:
                yield Span(activity, *self._part(activity, event, end), since, end)

    def _part(
        self, activity: Activity, event: dict[str, Any], end: float
    ) -> tuple[Part, tuple[str, ...]]:
        """Return the part in which a span lies, and the part's statements."""
        if activity == Activity.WAITING:
            return Part.WAIT, tuple(event.get("sql", ()))
        ending = next((each for each in self.ends if each["ms"] >= end), {})
        part = ENDS.get(ending.get("event", ""), Part.CHARGE)
        statements = tuple(ending.get("sql", ()))
        if part == Part.COMMIT:
            return part, statements or ("COMMIT",)
        if part == Part.RESPOND and self.committed is None:
            part = Part.CHARGE
        if part == Part.CHARGE and self.kind in UNCHARGED:
            part = Part.NO_CHARGE
        return part, statements

    def waited_ms(self, now: float) -> float:
        """Return how many milliseconds it waited for a lock."""
        spans = self.spans(now)
        return sum(each.until - each.since for each in spans if each.activity == Activity.WAITING)

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
