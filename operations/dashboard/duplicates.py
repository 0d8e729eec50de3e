"""The duplicates of the last 24 hours, from the journal: numbers, and a plot by the hour."""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.apps import apps
from django.db import connection
from django.db.models import Count
from django.utils.translation import gettext_lazy as _

from idempotency.journal.models import Outcome
from web import uuid7

HOURS = 24
WIDTH, HEIGHT = 720, 120  # of the whole, and of the highest bar; in units of the picture
SLOT = WIDTH // HOURS
BAR = 8
LABELLED = 3  # every so many hours

# What the bars stand for, left to right: the class in the style sheet, the words, the outcomes.
KINDS: tuple[tuple[str, Any, frozenset[Outcome]], ...] = (
    (
        "replay",
        _("got the first response"),
        frozenset({Outcome.WAITED, Outcome.REPLAYED, Outcome.SUPERSEDED}),
    ),
    (
        "conflict",
        _("refused: the first was still running, or the key had expired"),
        frozenset({Outcome.IN_USE, Outcome.EXPIRED}),
    ),
    ("reused", _("refused: a key reused for another request"), frozenset({Outcome.REUSED})),
)
MARGIN = (SLOT - len(KINDS) * BAR) // 2

BY_HOUR = """
SELECT date_trunc('hour', received_at, 'UTC'), outcome, count(*)
  FROM idempotency_journal_journaledrequest
 WHERE received_at >= date_trunc('hour', now(), 'UTC') - make_interval(hours => %(hours)s - 1)
   AND outcome <> 'executed'
 GROUP BY 1, 2
"""
THIS_HOUR = "SELECT date_trunc('hour', now(), 'UTC')"


@dataclass(frozen=True)
class HourOfDuplicates:
    """The counts of an hour by the kind's class, and its place in the picture."""

    start: datetime
    counts: dict[str, int]
    x: int

    @property
    def middle(self) -> int:
        return self.x + SLOT // 2

    @property
    def cells(self) -> list[int]:
        return [self.counts.get(kind, 0) for kind, _words, _outcomes in KINDS]


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
class Duplicates:
    """The duplicates of the last hours, oldest first.

    :ivar charged_twice: orders with two payments in that time; None: not known in this process
    """

    hours: list[HourOfDuplicates]
    charged_twice: int | None
    width: int = WIDTH
    height: int = HEIGHT
    bar: int = BAR

    @property
    def total(self) -> int:
        return sum(sum(hour.cells) for hour in self.hours)

    @property
    def most(self) -> int:
        return max(max(hour.cells) for hour in self.hours)

    @property
    def kinds(self) -> list[tuple[str, Any, int]]:
        """Each kind: its class, its words, and how many in all."""
        return [
            (kind, words, sum(hour.counts.get(kind, 0) for hour in self.hours))
            for kind, words, _outcomes in KINDS
        ]

    @property
    def labelled(self) -> list[HourOfDuplicates]:
        return [hour for hour in self.hours if hour.start.hour % LABELLED == 0]

    @property
    def bars(self) -> list[PlottedBar]:
        """The bars of counts above 0, each kind at its place."""
        return [
            self._bar(hour, kind, count, place)
            for hour in self.hours
            for place, (kind, _words, _outcomes) in enumerate(KINDS)
            if (count := hour.counts.get(kind, 0))
        ]

    def _bar(self, hour: HourOfDuplicates, kind: str, count: int, place: int) -> PlottedBar:
        high = HEIGHT * count / self.most
        x = hour.x + MARGIN + place * BAR
        return PlottedBar(kind, count, hour.start, x, f"{HEIGHT - high:.2f}", f"{high:.2f}")


def duplicates() -> Duplicates:
    """Read the duplicates of the last 24 hours, the present one included."""
    with connection.cursor() as cursor:
        cursor.execute(THIS_HOUR)
        last: datetime = cursor.fetchone()[0].astimezone(UTC)
        cursor.execute(BY_HOUR, {"hours": HOURS})
        counts: dict[datetime, Counter[str]] = {}
        for hour, outcome, count in cursor.fetchall():
            counts.setdefault(hour, Counter())[_kind_of(Outcome(outcome))] += count
    starts = [last - timedelta(hours=back) for back in reversed(range(HOURS))]
    hours = [
        HourOfDuplicates(start, dict(counts.get(start, {})), x=SLOT * number)
        for number, start in enumerate(starts)
    ]
    return Duplicates(hours, _charged_twice(since=starts[0]))


def _charged_twice(*, since: datetime) -> int | None:
    """Count the orders with two payments since then."""
    if not apps.is_installed("payments"):
        return None
    from payments.models import Payment  # noqa: PLC0415 - not in every process

    first_id = uuid7.first_at(since)
    paid = Payment.objects.filter(pk__gte=first_id, outcome=Payment.Outcome.SUCCEEDED)
    by_order = paid.values("order_id").annotate(payments=Count("pk"))
    return by_order.filter(payments__gt=1).count()


def _kind_of(outcome: Outcome) -> str:
    return next(kind for kind, _words, outcomes in KINDS if outcome in outcomes)
