"""What the page says of a run and of the mechanisms, in the reader's language.

The mechanisms' own paragraphs, the scenarios and the reasons are translated as they stand in the
code: each text is the name of its translation in lab/locale.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext, gettext_lazy, ngettext, pgettext

from lab import mechanisms
from lab.expected import LOST, REFUSED
from lab.harness.report import NO_REDIS
from lab.page import timeline
from lab.page.timeline import Performance, Story, as_expected

KINDS = {
    timeline.EXECUTED: gettext_lazy("executed"),
    timeline.AGAIN: gettext_lazy("executed again"),
    timeline.REPLAYED: gettext_lazy("replayed"),
    timeline.REFUSED: gettext_lazy("refused"),
    timeline.UNPAID: gettext_lazy("not charged"),
    timeline.KILLED: gettext_lazy("killed"),
    timeline.BROKEN: gettext_lazy("server error"),
    timeline.UNDER_WAY: gettext_lazy("under way"),
}
_PARTS = re.compile(r"\n(?=Source: |Stops: |Does not stop: )")


@dataclass(frozen=True)
class Explanation:
    """A mechanism's docstring, taken apart."""

    what: SafeString
    source: SafeString
    stops: SafeString
    does_not_stop: SafeString


@dataclass(frozen=True)
class Verdict:
    """What a performance came to: how often it charged, what that cost, who was told what."""

    tone: str
    charged: str
    loss: str
    told: str
    reason: SafeString
    differs: str = ""


@cache
def texts(mechanism: str) -> tuple[str, ...]:
    """Return a mechanism's paragraphs as they are in the code: what it is, and its three parts."""
    docstring = str(mechanisms.load(mechanism).__doc__)
    what, *parts = (" ".join(part.split()) for part in _PARTS.split(docstring.strip()))
    return what, *(part.partition(": ")[2] for part in parts)


def explain(mechanism: str) -> Explanation:
    return Explanation(*map(prose, texts(mechanism)))


def prose(text: str) -> SafeString:
    """Return a text of the code's in the reader's language, its `code` marked as such."""
    said = gettext(text) if text else ""  # the empty text's translation is the file's header
    return mark_safe(re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(said)))  # noqa: S308


def title(name: str) -> str:
    """Return a scenario's or a mechanism's name."""
    return pgettext("lab", name.replace("_", " "))


def verdict(performance: Performance) -> Verdict | None:
    """Return what a performance came to; None while it is under way."""
    outcome = performance.outcome
    if outcome is None:
        return None
    charges = performance.charges
    return Verdict(
        "good" if outcome["charges"] == 1 else "bad",
        _charged(outcome["charges"], charges),
        _loss(performance, outcome["charges"]),
        told(each.heard for each in performance.tries),
        prose(outcome["expected"]["reason"]),
        "" if as_expected(outcome) else _difference(outcome["expected"]),
    )


def _charged(outcome: int | str, charges: int) -> str:
    if outcome == REFUSED:
        return gettext("Not charged, and can't pay")
    if outcome == LOST:
        return gettext("Lost: one of two orders was not charged")
    charged = ngettext("Charged once", "Charged %(charges)s times", charges)
    return charged % {"charges": charges}


def told(words: Iterable[str]) -> str:
    """Say how many clicks were told what."""
    counted = Counter(word for word in words if word)
    return " · ".join(f"{count} × {word_for(word)}" for word, count in counted.most_common())


def word_for(word: str) -> str:
    """Return one of the words of lab/expected.py."""
    return pgettext("lab", word)


def _loss(performance: Performance, charges: int | str) -> str:
    """Say what went wrong with the money, in minor units."""
    if charges == REFUSED:
        return gettext("No money was taken, and the customer can't pay any more.")
    if charges == LOST:
        text = gettext(
            "An order counts as paid that nobody paid for: %(money)s cents were never taken."
        )
        return text % {"money": performance.amount}
    if performance.balance < 0:
        text = gettext("The account is overdrawn by %(money)s cents: both orders were paid.")
        return text % {"money": -performance.balance}
    extra = (performance.charges - 1) * performance.amount
    if extra < 0:
        return gettext("The column was counted up %(times)s times too often.") % {"times": -extra}
    text = gettext("%(money)s cents too much was taken from the account.")
    return text % {"money": extra} if extra else ""


def _difference(expected: dict[str, Any]) -> str:
    text = gettext("This is not what lab/expected.py has: %(charges)s (%(told)s).")
    return text % {
        "charges": word_for(str(expected["charges"])),
        "told": word_for(expected["told"]),
    }


def state(told: Story, *, is_played: bool) -> str:
    """Say how far a run has come."""
    if not told.is_over and not is_played:
        return gettext("The run ended before its time: its process is gone.")
    if told.error:
        return _failure(told.error)
    if told.is_over:
        return _end(told)
    if not told.performances:
        return gettext("Setting up: tables of its own, and two shop processes …")
    text = gettext("Playing %(mechanism)s, %(number)s of %(all)s …")
    now = list(told.performances)[-1]
    return text % {
        "mechanism": title(now),
        "number": len(told.performances),
        "all": len(told.mechanisms),
    }


def _failure(error: str) -> str:
    if NO_REDIS in error:
        return gettext("Nothing was played: what was chosen needs Redis, and there is none.")
    return gettext("The run broke off. It said:")


def _end(told: Story) -> str:
    if told.differing:
        text = gettext("Over. Not as expected: %(mechanisms)s.")
        names = ", ".join(title(each.mechanism) for each in told.differing)
        return text % {"mechanisms": names}
    return gettext("Over. Every mechanism did what was expected of it.")
