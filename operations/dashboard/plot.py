"""The plot of replays and conflicts by the hour: geometry only, drawn by a template."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from operations.hourly import this_hour
from operations.models import HourlyCount

Kind = HourlyCount.Kind

HOURS = 24
WIDTH, HEIGHT = 720, 120  # of the whole, and of the highest bar; in units of the picture
SLOT = WIDTH // HOURS
BAR = 11
MARGIN = (SLOT - 2 * BAR) // 2
LABELLED = 3  # every so many hours


@dataclass(frozen=True)
class PlottedHour:
    """The counts of an hour, and its place in the picture."""

    start: datetime
    replays: int
    conflicts: int
    x: int

    @property
    def middle(self) -> int:
        return self.x + SLOT // 2


@dataclass(frozen=True)
class PlottedBar:
    """One rectangle; the numbers are text, so that no language puts a comma into them."""

    kind: str
    count: int
    start: datetime
    x: int
    y: str
    height: str


@dataclass(frozen=True)
class Plot:
    """The last hours, oldest first, and their bars on one scale from 0 to `most`."""

    hours: list[PlottedHour]
    width: int = WIDTH
    height: int = HEIGHT
    bar: int = BAR

    @property
    def most(self) -> int:
        return max(max(hour.replays, hour.conflicts) for hour in self.hours)

    @property
    def replays(self) -> int:
        return sum(hour.replays for hour in self.hours)

    @property
    def conflicts(self) -> int:
        return sum(hour.conflicts for hour in self.hours)

    @property
    def labelled(self) -> list[PlottedHour]:
        return [hour for hour in self.hours if hour.start.hour % LABELLED == 0]

    @property
    def bars(self) -> list[PlottedBar]:
        """The bars of counts above 0, replays left of conflicts."""
        return [
            self._bar(hour, kind, count, place)
            for hour in self.hours
            for place, (kind, count) in enumerate(
                ((Kind.REPLAY, hour.replays), (Kind.CONFLICT, hour.conflicts))
            )
            if count
        ]

    def _bar(self, hour: PlottedHour, kind: str, count: int, place: int) -> PlottedBar:
        high = HEIGHT * count / self.most
        x = hour.x + MARGIN + place * BAR
        return PlottedBar(str(kind), count, hour.start, x, f"{HEIGHT - high:.2f}", f"{high:.2f}")


def plot() -> Plot:
    """Read the counts of the last 24 hours, the present one included, in one query."""
    last = this_hour()
    starts = [last - timedelta(hours=back) for back in reversed(range(HOURS))]
    rows = HourlyCount.objects.filter(hour__range=(starts[0], last))
    counts = {(row.hour, row.kind): row.count for row in rows}
    return Plot(
        [
            PlottedHour(
                start,
                replays=counts.get((start, Kind.REPLAY), 0),
                conflicts=counts.get((start, Kind.CONFLICT), 0),
                x=SLOT * number,
            )
            for number, start in enumerate(starts)
        ]
    )
