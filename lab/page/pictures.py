"""A small drawing of each scenario: a row for each request, with time from left to right.

Requests with the same letter come from the same page. Places are pixels in a box of WIDTH.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from lab.harness.scenarios import SCENARIOS

WIDTH, ROW_PIXELS = 132, 16


@dataclass(frozen=True)
class PictureRow:
    """A request: its page, its bars, and where it is held, commits, and is lost."""

    page: str
    bars: Sequence[tuple[int, int]]  # start and width
    held: tuple[int, int] | None = None
    commit: int | None = None
    lost: int | None = None


@dataclass(frozen=True)
class Picture:
    """A scenario's rows, each with its height."""

    rows: Sequence[PictureRow]

    width = WIDTH

    @property
    def height(self) -> int:
        return ROW_PIXELS * len(self.rows)

    @property
    def placed(self) -> list[tuple[int, PictureRow]]:
        """The rows, each with the height of its top."""
        return [(ROW_PIXELS * number, row) for number, row in enumerate(self.rows)]


TOGETHER = [(24, 40)]
ONE_BY_ONE = ([(24, 24)], [(60, 24)], [(96, 24)])

PICTURES = {
    "double_click": Picture([PictureRow("A", TOGETHER)] * 3),
    "back_and_resubmit": Picture([PictureRow("A", bars) for bars in ONE_BY_ONE]),
    "two_tabs": Picture([PictureRow(page, TOGETHER) for page in "ABC"]),
    "rpc_retry": Picture(
        [
            PictureRow("A", [(24, 24)], commit=42, lost=50),
            PictureRow("A", [(60, 24)], commit=78, lost=86),
            PictureRow("A", [(96, 24)], commit=114),
        ]
    ),
    "crash_before_commit": Picture(
        [PictureRow("A", [(24, 20)], lost=46), PictureRow("A", [(72, 36)], commit=100)]
    ),
    "crash_after_commit": Picture(
        [PictureRow("A", [(24, 28)], commit=44, lost=54), PictureRow("A", [(72, 36)], commit=100)]
    ),
    "slow_owner": Picture(
        [PictureRow("A", [(24, 16), (96, 24)], held=(40, 56)), PictureRow("A", [(52, 36)])]
    ),
    "two_orders_one_balance": Picture([PictureRow(order, TOGETHER) for order in ("#1", "#2")]),
    "increment": Picture([PictureRow("+1", TOGETHER)] * 3),
}
assert PICTURES.keys() == SCENARIOS.keys()
