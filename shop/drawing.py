"""The requests to pay an order as bars on one time axis: numbers that a template makes an SVG of.

Lengths along the axis are percentages, heights are pixels: the drawing fits any width, and its text
keeps its size.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.utils.translation import gettext_lazy as _

from idempotency.journal.models import Outcome
from orders.requests import OrderRequest
from web import axis

BARS_MAX = 25
WINDOW = timedelta(seconds=10)  # later requests would leave no width to the first ones
ROW_PIXELS, BAR_PIXELS, AXIS_PIXELS = 22, 12, 20

LABELS: dict[Outcome, Any] = {
    Outcome.EXECUTED: _("executed"),
    Outcome.WAITED: _("waited, then got its response"),
    Outcome.REPLAYED: _("got the same response again"),
    Outcome.SUPERSEDED: _("another key: it was decided already"),
    Outcome.IN_USE: _("refused: the first was still running"),
    Outcome.EXPIRED: _("refused: the key has expired"),
    Outcome.REUSED: _("refused: the key belongs to another request"),
}


# Beside a bar there is room for a word, as in the lab.
WORDS: dict[Outcome, Any] = dict.fromkeys(Outcome, _("refused")) | {
    Outcome.EXECUTED: _("executed"),
    Outcome.WAITED: _("replayed"),
    Outcome.REPLAYED: _("replayed"),
}


@dataclass(frozen=True)
class Bar:
    """A request from its arrival to its response; the striped part of it waited."""

    outcome: Outcome
    y: int
    x: str
    width: str
    waited: str  # the width of the striped part; empty: none

    @property
    def label(self) -> str:
        return str(LABELS[self.outcome])

    @property
    def word(self) -> str:
        return str(WORDS[self.outcome])

    @property
    def baseline(self) -> int:
        return self.y + BAR_PIXELS - 2


@dataclass(frozen=True)
class Drawing:
    """The bars, and the ticks of their axis: place and milliseconds.

    :ivar ms: how long the axis is
    :ivar later: how many requests are not drawn
    """

    bars: list[Bar]
    ticks: list[tuple[str, int]]
    ms: int
    later: int

    @property
    def bottom(self) -> int:
        return len(self.bars) * ROW_PIXELS

    @property
    def height(self) -> int:
        return self.bottom + AXIS_PIXELS


def draw(requests: Sequence[OrderRequest], *, total: int, ms_min: int = 1) -> Drawing | None:
    """Return the drawing of requests, by time; None: there are none.

    :param total: how many there are, drawn or not
    :param ms_min: the least length of the axis
    """
    if not requests:
        return None
    began = requests[0].at
    drawn = [each for each in requests if each.at - began <= WINDOW][:BARS_MAX]
    length = max(max(each.ends for each in drawn) - began, timedelta(milliseconds=ms_min))
    bars = [_bar(each, number, began, length) for number, each in enumerate(drawn)]
    length_ms = length / timedelta(milliseconds=1)
    ticks = [(_percent(tick / length_ms), tick) for tick in axis.ticks(length_ms)]
    return Drawing(bars, ticks, math.ceil(length_ms), total - len(drawn))


def _bar(each: OrderRequest, number: int, began: datetime, length: timedelta) -> Bar:
    waited = timedelta(milliseconds=each.waited_milliseconds)
    return Bar(
        each.outcome,
        number * ROW_PIXELS + (ROW_PIXELS - BAR_PIXELS) // 2,
        _percent((each.at - began) / length),
        _percent(max((each.ends - each.at) / length, 0.004)),
        _percent(waited / length) if waited else "",
    )


def _percent(part: float) -> str:
    return f"{100 * part:.1f}%"
