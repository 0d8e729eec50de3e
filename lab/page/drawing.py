"""The time line of a performance, as numbers that a template makes an SVG of.

Lengths along the time are percentages of the plot's width, heights are pixels: so the drawing fits
any width, and its text stays as large as it is.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from lab.page.timeline import Performance, Try
from lab.page.wording import KINDS

ROW, BAR = 22, 12  # pixels
BALANCE = 72
AXIS = 22
GAP = 10
MOST_TICKS = 5
STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000)


@dataclass(frozen=True)
class Segment:
    """A part of a bar: what the click did then, and where it is."""

    what: str
    x: str
    width: str


@dataclass(frozen=True)
class Bar:
    """A try's bar, from its arrival to its answer, with the way there and back."""

    number: int
    kind: str
    y: int
    way: Segment
    segments: list[Segment]
    lost: str  # where the answer was lost, or the process killed

    @property
    def label(self) -> str:
        return str(KINDS[self.kind])

    @property
    def middle(self) -> int:
        return self.y + BAR // 2

    @property
    def baseline(self) -> int:
        return self.y + BAR - 2


@dataclass(frozen=True)
class Tick:
    """A time on the axis."""

    x: str
    ms: int


@dataclass(frozen=True)
class Drawing:
    """All of it."""

    bars: list[Bar]
    ticks: list[Tick]
    balance: str  # an SVG path in a box of 1000 × BALANCE
    once: int  # the height at which one charge leaves the balance
    ends: int  # where the balance's last value is written
    caption: int  # where there is room to say what it is

    balance_height = BALANCE

    @property
    def top_of_balance(self) -> int:
        return len(self.bars) * ROW + GAP

    @property
    def bottom(self) -> int:
        return self.top_of_balance + BALANCE + GAP // 2

    @property
    def height(self) -> int:
        return self.bottom + AXIS


@dataclass(frozen=True)
class _Scale:
    began: float
    ends: float

    def at(self, ms: float) -> float:
        """Return a time's place, from 0 to 1."""
        return min(max((ms - self.began) / (self.ends - self.began), 0), 1)

    def percent(self, ms: float) -> str:
        return f"{100 * self.at(ms):.1f}%"

    def segment(self, what: str, since: float, until: float) -> Segment:
        width = max(100 * (self.at(until) - self.at(since)), 0.3)
        return Segment(what, self.percent(since), f"{width:.1f}%")


def draw(performance: Performance) -> Drawing:
    """Return the time line of a performance, as far as it has come."""
    scale = scale_of(performance)
    heights = _heights(performance)
    return Drawing(
        [_bar(each, n, scale, performance.now) for n, each in enumerate(performance.tries)],
        list(_ticks(scale)),
        _steps(performance, scale, heights),
        heights[performance.opening - performance.amount],
        max(heights[performance.balance] + 4, 24),
        BALANCE - 4 if performance.amount > 0 else 12,
    )


def scale_of(performance: Performance) -> _Scale:
    """Return the time from the first click's leaving to the last event."""
    began = min((each.sent for each in performance.tries), default=0.0)
    return _Scale(began, max(performance.now, began + 1))


def _bar(each: Try, number: int, scale: _Scale, now: float) -> Bar:
    told = each.told if each.told is not None else each.ended
    return Bar(
        number + 1,
        each.kind,
        number * ROW + (ROW - BAR) // 2,
        scale.segment("way", each.sent, now if told is None else told),
        [scale.segment(*part) for part in each.parts(now)],
        scale.percent(each.ended) if each.fate and each.ended is not None else "",
    )


def _ticks(scale: _Scale) -> Iterator[Tick]:
    length = scale.ends - scale.began
    step = next((step for step in STEPS if length / step < MOST_TICKS), STEPS[-1])
    for ms in range(0, int(length * 0.9) + 1, step):  # the last label wants its place
        yield Tick(scale.percent(scale.began + ms), ms)


def _heights(performance: Performance) -> dict[int, int]:
    """Return where each balance is drawn: one scale for every mechanism of as many tries."""
    opening, amount = performance.opening, performance.amount
    values = {balance for _, balance in performance.balances} | {opening, opening - amount}
    extremes = values | {opening - max(len(performance.tries), 2) * amount}
    top, bottom, room = max(extremes), min(extremes), BALANCE - 8
    return {value: 4 + round(room * (top - value) / (top - bottom)) for value in values}


def _steps(performance: Performance, scale: _Scale, heights: dict[int, int]) -> str:
    moves = [
        f"H{1000 * scale.at(ms):.0f}V{heights[balance]}" for ms, balance in performance.balances
    ]
    return f"M0 {heights[performance.opening]}{''.join(moves)}H1000"
