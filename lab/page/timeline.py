"""The timeline of one scenario run, rebuilt from its events: attempts, balances, the result."""

from dataclasses import dataclass, field
from typing import Any

from lab.expected import FIRST
from lab.harness.matrix import classify
from lab.page.attempt import AttemptKind, ClickAttempt


@dataclass
class ScenarioTimeline:
    """A mechanism in the scenario: its attempts, the account's balances, and the result."""

    mechanism: str
    opening_balance: int
    amount: int
    attempts: list[ClickAttempt] = field(default_factory=list)
    balances: list[tuple[float, int]] = field(default_factory=list)
    result: dict[str, Any] | None = None
    events: int = 0
    now: float = 0.0  # the last event's time

    def apply(self, event: dict[str, Any]) -> None:
        """Apply an event of this scenario run."""
        self.events += 1
        name, ms = event["event"], event["ms"]
        if name == "result":
            self.result = event
            return
        self.now = max(self.now, ms)
        if name == "balance":
            self.balances.append((ms, event["balance"]))
        elif name == "sent":
            self.attempts.append(ClickAttempt(event["click"], event["order"], ms))
        elif attempt := self._attempt_of(event):
            attempt.apply(event)

    def _attempt_of(self, event: dict[str, Any]) -> ClickAttempt | None:
        """Return a click's latest attempt; a second arrival of the click makes a new one."""
        click = event.get("click")
        latest = next((each for each in reversed(self.attempts) if each.click == click), None)
        if latest and event["event"] == "arrived":
            if latest.arrived is not None:
                latest = ClickAttempt(latest.click, latest.order, event["ms"])
                self.attempts.append(latest)
            latest.arrived = event["ms"]
        return latest

    def classify(self) -> None:
        """Set the kind of each attempt, as far as receipts and commits show it."""
        for each in self.attempts:
            each.result = ""
            if each.status is not None:
                each.result = classify(
                    each.status,
                    each.text,
                    amount=self.amount,
                    opening_balance=self.opening_balance,
                )
            each.kind = each.classify()
        self._mark_replays()
        self._mark_duplicate_charges()

    def _mark_replays(self) -> None:
        """Of all attempts with the first result, leave the one that charged as executed.

        A new result's receipt shows its charge; the others with the first result show none.
        """
        first = [each for each in self.attempts if each.result == FIRST or each.died_after_commit]
        first.sort(key=lambda each: each.commit_began)
        for each in first[1:]:
            is_same_order = each.order == first[0].order
            each.kind = AttemptKind.REPLAYED if is_same_order else AttemptKind.UNPAID

    def _mark_duplicate_charges(self) -> None:
        paid = set()
        for each in sorted(self.attempts, key=lambda each: each.commit_began):
            if each.kind == AttemptKind.EXECUTED:
                if each.order in paid:
                    each.kind = AttemptKind.DUPLICATE_CHARGE
                paid.add(each.order)

    @property
    def balance(self) -> int:
        return self.balances[-1][1] if self.balances else self.opening_balance

    @property
    def charges(self) -> int:
        """How often the account was charged, by its balance."""
        return (self.opening_balance - self.balance) // self.amount
