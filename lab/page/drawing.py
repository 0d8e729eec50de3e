"""A timeline as numbers that a template turns into an SVG.

Lengths along the time axis are percentages of the plot's width, heights are pixels: the drawing
fits any width, and its text keeps its size.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from lab.page.attempt import Activity, AttemptKind, ClickAttempt, Span
from lab.page.timeline import ScenarioTimeline
from lab.page.wording import KIND_LABELS, PART_LABELS
from web import axis

ROW_PIXELS, BAR_PIXELS = 22, 12
BALANCE_PIXELS = 72
AXIS_PIXELS = 22
GAP_PIXELS = 10


@dataclass(frozen=True)
class Segment:
    """A span of a bar: an activity, its place, and the name of its part."""

    activity: str
    x: str
    width: str
    label: str = ""


@dataclass(frozen=True)
class ClickBar:
    """An attempt's bar from its arrival to its response, with its way to the server and back."""

    number: int
    kind: AttemptKind
    y: int
    transit: Segment
    segments: list[Segment]
    lost: str  # where the response was lost, or the process killed

    @property
    def label(self) -> str:
        return str(KIND_LABELS[self.kind])

    @property
    def baseline(self) -> int:
        return self.y + BAR_PIXELS - 2


@dataclass(frozen=True)
class Tick:
    """A time on the axis."""

    x: str
    ms: int


@dataclass(frozen=True)
class Drawing:
    """The bars, the axis and the balance of one timeline."""

    bars: list[ClickBar]
    ticks: list[Tick]
    balance: str  # an SVG path in a box of 1000 × BALANCE_PIXELS
    single_charge: int  # the height of the balance after one charge
    last_label: int  # the height of the label of the last balance
    caption: int  # the height of the caption, where there is room for it

    balance_height = BALANCE_PIXELS

    @property
    def top_of_balance(self) -> int:
        return len(self.bars) * ROW_PIXELS + GAP_PIXELS

    @property
    def bottom(self) -> int:
        return self.top_of_balance + BALANCE_PIXELS + GAP_PIXELS // 2

    @property
    def height(self) -> int:
        return self.bottom + AXIS_PIXELS


@dataclass(frozen=True)
class TimeScale:
    """The time axis, in milliseconds."""

    began: float
    ends: float

    def at(self, ms: float) -> float:
        """Return a time's place, from 0 to 1."""
        return min(max((ms - self.began) / (self.ends - self.began), 0), 1)

    def percent(self, ms: float) -> str:
        return f"{100 * self.at(ms):.1f}%"

    def segment(self, activity: str, since: float, until: float, label: str = "") -> Segment:
        width = max(100 * (self.at(until) - self.at(since)), 0.3)
        return Segment(activity, self.percent(since), f"{width:.1f}%", label)


def draw(timeline: ScenarioTimeline, *, ms_min: float = 1, names_parts: bool = False) -> Drawing:
    """Return the drawing of a timeline, as far as it is recorded.

    :param ms_min: the least length of the time axis
    :param names_parts: divide the bars into their parts, and name each
    """
    scale = scale_of(timeline, ms_min=ms_min)
    heights = _heights(timeline)
    return Drawing(
        [
            _bar(each, scale, timeline.now, n, names_parts)
            for n, each in enumerate(timeline.attempts)
        ],
        list(_ticks(scale)),
        _balance_path(timeline, scale, heights),
        heights[timeline.opening_balance - timeline.amount],
        max(heights[timeline.balance] + 4, 24),
        BALANCE_PIXELS - 4 if timeline.amount > 0 else 12,
    )


def scale_of(timeline: ScenarioTimeline, *, ms_min: float = 1) -> TimeScale:
    """Return the time axis, from the moment the first click was sent to the last event."""
    began = min((each.sent for each in timeline.attempts), default=0.0)
    return TimeScale(began, max(timeline.now, began + ms_min))


def _bar(
    each: ClickAttempt, scale: TimeScale, now: float, number: int, names_parts: bool
) -> ClickBar:
    received = each.received if each.received is not None else each.ended
    return ClickBar(
        number + 1,
        each.kind,
        number * ROW_PIXELS + (ROW_PIXELS - BAR_PIXELS) // 2,
        scale.segment("transit", each.sent, now if received is None else received),
        list(_segments(each, scale, now, names_parts)),
        scale.percent(each.ended) if each.fault and each.ended is not None else "",
    )


def _segments(
    each: ClickAttempt, scale: TimeScale, now: float, names_parts: bool
) -> Iterator[Segment]:
    """Yield the bar, held or not and divided into parts if they are named; then its waits."""

    def key(span: Span) -> tuple[str, str]:
        if span.activity == Activity.HELD:
            return Activity.HELD, ""
        return Activity.WORKING, str(PART_LABELS[span.part]) if names_parts else ""

    for (activity, label), adjacent in groupby(each.spans(now), key):
        spans = list(adjacent)
        yield scale.segment(activity, spans[0].since, spans[-1].until, label)
    for span in each.spans(now):
        if span.activity == Activity.WAITING:
            yield scale.segment(Activity.WAITING, span.since, span.until, key(span)[1])


def _ticks(scale: TimeScale) -> Iterator[Tick]:
    for ms in axis.ticks(scale.ends - scale.began):
        yield Tick(scale.percent(scale.began + ms), ms)


def _heights(timeline: ScenarioTimeline) -> dict[int, int]:
    """Return each balance's height; mechanisms with as many attempts share one scale."""
    opening, amount = timeline.opening_balance, timeline.amount
    values = {balance for _, balance in timeline.balances} | {opening, opening - amount}
    extremes = values | {opening - max(len(timeline.attempts), 2) * amount}
    top, bottom, room = max(extremes), min(extremes), BALANCE_PIXELS - 8
    return {value: 4 + round(room * (top - value) / (top - bottom)) for value in values}


def _balance_path(timeline: ScenarioTimeline, scale: TimeScale, heights: dict[int, int]) -> str:
    moves = [f"H{1000 * scale.at(ms):.0f}V{heights[left]}" for ms, left in timeline.balances]
    return f"M0 {heights[timeline.opening_balance]}{''.join(moves)}H1000"
