"""The parts of a timeline's bars in words: each with its statements, and the clicks that had it."""

from dataclasses import dataclass, field

from lab.page.attempt import Activity, Part
from lab.page.drawing import TimeScale
from lab.page.timeline import ScenarioTimeline
from lab.page.wording import PART_LABELS, in_ranges


@dataclass
class BarPart:
    """A part that some bars have: its name, its statements, and where on the axis it lies."""

    name: Part
    statements: tuple[str, ...]
    numbers: list[int] = field(default_factory=list)
    places: list[tuple[float, float]] = field(default_factory=list)

    @property
    def label(self) -> str:
        return str(PART_LABELS[self.name])

    @property
    def clicks(self) -> str:
        return in_ranges(dict.fromkeys(self.numbers))

    @property
    def spans(self) -> str:
        """Starts and ends from 0 to 1, for the player: where any click has this part."""
        joined: list[tuple[float, float]] = []
        for start, end in sorted(self.places):
            if joined and start <= joined[-1][1]:
                joined[-1] = joined[-1][0], max(end, joined[-1][1])
            else:
                joined.append((start, end))
        return " ".join(f"{start:.3f}-{end:.3f}" for start, end in joined)


def parts_of(timeline: ScenarioTimeline, scale: TimeScale) -> list[BarPart]:
    """Return the parts in which the clicks were not held, each once, in the order of `Part`."""
    parts: dict[tuple[Part, tuple[str, ...]], BarPart] = {}
    for number, attempt in enumerate(timeline.attempts, start=1):
        for span in attempt.spans(timeline.now):
            if span.activity != Activity.HELD:
                key = span.part, span.statements
                part = parts.setdefault(key, BarPart(*key))
                part.numbers.append(number)
                part.places.append((scale.at(span.since), scale.at(span.until)))
    order = list(Part)
    return sorted(parts.values(), key=lambda each: order.index(each.name))
