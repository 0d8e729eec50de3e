"""What a run's record tells, read by any process at any time: clicks, balances, outcomes.

A click that the client library sends again is several tries, and each is told apart.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import Any

from lab.expected import ERROR, FIRST, NEW
from lab.harness.matrix import NOTHING, meaning
from lab.harness.scenarios import SCENARIOS

WORKS, WAITS, HELD = "works", "waits", "held"
# What became of a try.
UNDER_WAY, EXECUTED, AGAIN, REPLAYED = "under-way", "executed", "again", "replayed"
REFUSED, UNPAID, KILLED, BROKEN = "refused", "unpaid", "killed", "broken"
CHARGED = frozenset({EXECUTED, AGAIN})
BEGINS = {"waiting": WAITS, "blocked": WAITS}  # what a click does from an event on; else it works


@dataclass
class Try:
    """A click that was sent to a shop, or sent again there by the client library."""

    click: int
    order: str
    sent: float
    arrived: float | None = None
    ended: float | None = None  # at the server: answered, or killed
    told: float | None = None
    commits: float = inf
    committed: float | None = None
    status: int | None = None
    text: str = ""
    meaning: str = ""  # of the answer, as lab/expected.py calls it
    fate: str = ""  # "drop" or "kill", where the lab did that
    kind: str = UNDER_WAY
    spans: list[tuple[str, float]] = field(default_factory=list)  # what it does, and since when

    def hear(self, event: dict[str, Any]) -> None:
        """Take in what happened to it."""
        name, ms, what = event["event"], event["ms"], event.get("what", "")
        if name == "told":
            self.told = ms
            return
        doing = HELD if what == "hold" else BEGINS.get(name, WORKS)
        if not self.spans or self.spans[-1][0] != doing:
            self.spans.append((doing, ms))
        if name == "before-commit":
            self.commits = ms
        elif name == "after-commit":
            self.committed = ms
        elif name == "answered":
            self.ended, self.status, self.text = ms, event["status"], event["text"]
        if what == "kill":
            self.ended = ms
        self.fate = what if what in {"kill", "drop"} else self.fate

    def parts(self, now: float) -> Iterator[tuple[str, float, float]]:
        """Yield what it did, from when until when."""
        until = now if self.ended is None else self.ended
        for (what, since), (_, end) in pairwise([*self.spans, ("", until)]):
            if min(end, until) > since:
                yield what, since, min(end, until)

    def waited(self, now: float) -> float:
        """Return for how many milliseconds it waited for a lock."""
        return sum(end - since for what, since, end in self.parts(now) if what == WAITS)

    @property
    def heard(self) -> str:
        """What the customer, or the client library, was told."""
        return NOTHING if self.fate else self.meaning


@dataclass
class Performance:
    """A mechanism in the scenario: its tries, what the account held, and what it came to."""

    mechanism: str
    opening: int
    amount: int
    tries: list[Try] = field(default_factory=list)
    balances: list[tuple[float, int]] = field(default_factory=list)
    outcome: dict[str, Any] | None = None
    heard: int = 0  # events
    now: float = 0.0  # the last event's time

    def hear(self, event: dict[str, Any]) -> None:
        self.heard += 1
        name, ms = event["event"], event["ms"]
        if name == "outcome":
            self.outcome = event
            return
        self.now = max(self.now, ms)
        if name == "balance":
            self.balances.append((ms, event["balance"]))
        elif name == "sent":
            self.tries.append(Try(event["click"], event["order"], ms))
        elif concerned := self._try(event):
            concerned.hear(event)

    def _try(self, event: dict[str, Any]) -> Try | None:
        """Return the try that an event is about: a click's latest; it arrives anew: one more."""
        latest = next((t for t in reversed(self.tries) if t.click == event.get("click")), None)
        if latest and event["event"] == "arrived":
            if latest.arrived is not None:
                latest = Try(latest.click, latest.order, event["ms"])
                self.tries.append(latest)
            latest.arrived = event["ms"]
        return latest

    def conclude(self) -> None:
        """Say of each try what became of it, as far as receipts and commits show it."""
        for each in self.tries:
            each.meaning = ""
            if each.status is not None:
                each.meaning = meaning(
                    each.status, each.text, amount=self.amount, opening=self.opening
                )
            each.kind = _kind(each)
        self._tell_charges_apart()

    def _tell_charges_apart(self) -> None:
        """Find the one behind the first result, and the charges that repeat another's."""
        told_first = [t for t in self.tries if t.meaning == FIRST or _died_with_its_charge(t)]
        told_first.sort(key=lambda t: t.commits)
        for each in told_first[1:]:  # a new result's receipt shows its charge; these show none
            each.kind = REPLAYED if each.order == told_first[0].order else UNPAID
        paid = set()
        for each in sorted(self.tries, key=lambda t: t.commits):
            if each.kind == EXECUTED:
                each.kind = AGAIN if each.order in paid else EXECUTED
                paid.add(each.order)

    @property
    def balance(self) -> int:
        return self.balances[-1][1] if self.balances else self.opening

    @property
    def charges(self) -> int:
        """How often the account was charged, by its balance."""
        return (self.opening - self.balance) // self.amount


def _kind(each: Try) -> str:
    if each.fate == "kill":
        return EXECUTED if _died_with_its_charge(each) else KILLED
    if each.meaning in {FIRST, NEW}:
        return EXECUTED
    if each.meaning == ERROR:
        return REFUSED
    return BROKEN if each.meaning else UNDER_WAY


def _died_with_its_charge(each: Try) -> bool:
    return each.fate == "kill" and each.committed is not None


@dataclass
class Story:
    """A run as far as it has come."""

    scenario: str
    mechanisms: list[str]
    clicks: int
    performances: dict[str, Performance] = field(default_factory=dict)
    heard: int = 0
    error: str | None = None  # None: it is not over; empty: it came to its end

    @property
    def is_over(self) -> bool:
        return self.error is not None

    @property
    def differing(self) -> list[Performance]:
        """The mechanisms that did not do what is expected of them."""
        found = self.performances.values()
        return [p for p in found if p.outcome and not as_expected(p.outcome)]


def as_expected(outcome: dict[str, Any]) -> bool:
    expected = outcome["expected"]
    return (outcome["charges"], outcome["told"]) == (expected["charges"], expected["told"])


def read(file: Path) -> Story:
    """Return what a record tells so far.

    :raises FileNotFoundError: there is no such run, or not any more
    """
    # Whatever follows the last line's end is being written now.
    lines = file.read_text(encoding="utf-8").split("\n")[:-1]
    asked, *events = [json.loads(line) for line in lines] or [{}]
    story = Story(
        asked.get("scenario", "double_click"), asked.get("mechanisms", []), asked.get("clicks", 0)
    )
    current: Performance | None = None
    for event in events:
        story.heard += 1
        if event["event"] == "end":
            story.error = event["error"]
        elif event["event"] == "scene":
            current = _performance(event["mechanism"], story.scenario)
            story.performances[current.mechanism] = current
        elif current:
            current.hear(event)
    for performance in story.performances.values():
        performance.conclude()
    return story


def _performance(mechanism: str, scenario: str) -> Performance:
    chosen = SCENARIOS[scenario]
    return Performance(mechanism, chosen.opening, chosen.amount)
