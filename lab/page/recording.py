"""The recording of a run, read by any process at any time."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.harness.scenarios import SCENARIOS
from lab.page.timeline import ScenarioTimeline


@dataclass
class LabRun:
    """A run as far as it is recorded."""

    scenario: str
    mechanisms: list[str]
    clicks: int
    timelines: dict[str, ScenarioTimeline] = field(default_factory=dict)  # by mechanism
    events: int = 0
    error: str | None = None  # None: it is not over; empty: it ended without an error

    @property
    def is_over(self) -> bool:
        return self.error is not None

    @property
    def differing(self) -> list[ScenarioTimeline]:
        """The timelines whose result is not the expected one."""
        timelines = self.timelines.values()
        return [each for each in timelines if each.result and not is_as_expected(each.result)]


def is_as_expected(result: dict[str, Any]) -> bool:
    """Return True if a recorded result is the one of lab/expected.py."""
    expected = result["expected"]
    return all(result[key] == expected[key] for key in ("charges", "duplicate_result"))


def read(file: Path) -> LabRun:
    """Return a run as far as it is recorded.

    :raises FileNotFoundError: there is no such run, or it was deleted
    """
    # Whatever follows the last line's end is being written now.
    lines = file.read_text(encoding="utf-8").split("\n")[:-1]
    choice, *events = [json.loads(line) for line in lines] or [{}]
    run = LabRun(
        choice.get("scenario", "double_click"),
        choice.get("mechanisms", []),
        choice.get("clicks", 0),
    )
    current: ScenarioTimeline | None = None
    for event in events:
        run.events += 1
        if event["event"] == "end":
            run.error = event["error"]
        elif event["event"] == "scenario-started":
            current = _new_timeline(event["mechanism"], run.scenario)
            run.timelines[current.mechanism] = current
        elif current:
            current.apply(event)
    for timeline in run.timelines.values():
        timeline.classify()
    return run


def _new_timeline(mechanism: str, scenario: str) -> ScenarioTimeline:
    chosen = SCENARIOS[scenario]
    return ScenarioTimeline(mechanism, chosen.opening_balance, chosen.amount)
