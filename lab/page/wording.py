"""The page's texts on a run and on the mechanisms, in the reader's language.

The mechanisms' docstrings, the scenarios and the reasons are translated as they stand in the code:
each text is the msgid of its translation in lab/locale.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext, gettext_lazy, ngettext, pgettext, pgettext_lazy

from lab import mechanisms
from lab.expected import FIRST, LOST, REFUSED
from lab.harness.report import NEEDS
from lab.mechanisms import NEED_REDIS, NEED_SECOND_DATABASE
from lab.page.attempt import CHARGED, AttemptKind, Part
from lab.page.recording import LabRun, is_as_expected
from lab.page.timeline import ScenarioTimeline

KIND_LABELS = {
    AttemptKind.EXECUTED: gettext_lazy("executed"),
    AttemptKind.DUPLICATE_CHARGE: gettext_lazy("executed again"),
    AttemptKind.REPLAYED: gettext_lazy("replayed"),
    AttemptKind.REFUSED: gettext_lazy("refused"),
    AttemptKind.UNPAID: gettext_lazy("not charged"),
    AttemptKind.KILLED: gettext_lazy("killed"),
    AttemptKind.SERVER_ERROR: gettext_lazy("server error"),
    AttemptKind.UNDER_WAY: gettext_lazy("under way"),
}
PART_LABELS = {
    Part.CHECK: pgettext_lazy("part of a bar", "check"),
    Part.WAIT: pgettext_lazy("part of a bar", "wait for a lock"),
    Part.CHARGE: pgettext_lazy("part of a bar", "charge"),
    Part.NO_CHARGE: pgettext_lazy("part of a bar", "no charge"),
    Part.COMMIT: pgettext_lazy("part of a bar", "commit"),
    Part.RESPOND: pgettext_lazy("part of a bar", "respond"),
}
NEED_LABELS = dict.fromkeys(
    NEED_REDIS,
    gettext_lazy("Needs Redis, and there is none here: set REDIS_URL, or install redis-server."),
) | dict.fromkeys(
    NEED_SECOND_DATABASE,
    gettext_lazy(
        "Needs a second database, and there is none here: it wants max_prepared_transactions of 4"
        " or more, and a role with CREATEDB."
    ),
)
_PARTS = re.compile(r"\n(?=Source: |Stops: |Does not stop: )")


@dataclass(frozen=True)
class Explanation:
    """The parts of a mechanism's docstring."""

    summary: SafeString
    source: SafeString
    stops: SafeString
    does_not_stop: SafeString


@dataclass(frozen=True)
class Verdict:
    """The verdict on a timeline: the charges, the money lost, and the results that clicks got.

    :ivar clicks: which of them committed, waited and were refused
    """

    tone: str
    charged: str
    loss: str
    results: str
    reason: SafeString
    clicks: str
    differs: str = ""


@cache
def docstring_parts(mechanism: str) -> tuple[str, ...]:
    """Return a mechanism's docstring as it is in the code: its summary and its three parts."""
    docstring = str(mechanisms.load(mechanism).__doc__)
    summary, *parts = (" ".join(part.split()) for part in _PARTS.split(docstring.strip()))
    return summary, *(part.partition(": ")[2] for part in parts)


def explain(mechanism: str) -> Explanation:
    """Return a mechanism's docstring in the reader's language."""
    return Explanation(*map(translate, docstring_parts(mechanism)))


def translate(text: str) -> SafeString:
    """Return a text of the code in the reader's language, its `code` marked up as such."""
    translated = gettext(text) if text else ""  # the empty text's translation is the file's header
    return mark_safe(re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(translated)))  # noqa: S308


def title(name: str) -> str:
    """Return a scenario's or a mechanism's name."""
    return pgettext("lab", name.replace("_", " "))


def judge(timeline: ScenarioTimeline) -> Verdict | None:
    """Return the verdict on a timeline; None while its scenario is under way."""
    result = timeline.result
    if result is None:
        return None
    return Verdict(
        tone_of(result["charges"], result["duplicate_result"]),
        _describe_charges(result["charges"], timeline.charges),
        _describe_loss(timeline, result["charges"]),
        count_results(each.received_result for each in timeline.attempts),
        translate(result["expected"]["reason"]),
        _describe_clicks(timeline),
        "" if is_as_expected(result) else _describe_difference(result["expected"]),
    )


def tone_of(charges: int | str, duplicate_result: str) -> str:
    """Return the class of a result: charged once and everybody got the response, or not quite."""
    if charges == 1:
        return "good" if duplicate_result == FIRST else "busy"
    return "busy" if charges == REFUSED else "bad"


def _describe_clicks(timeline: ScenarioTimeline) -> str:
    """Return which clicks committed, which waited for a lock and which were refused."""
    attempts = list(enumerate(timeline.attempts, start=1))
    kinds = (
        (
            [number for number, each in attempts if each.kind in CHARGED],
            gettext_lazy("Charged by: %(clicks)s."),
        ),
        (
            [number for number, each in attempts if each.waited_ms(timeline.now) > 0],
            gettext_lazy("Waited for a lock: %(clicks)s."),
        ),
        (
            [number for number, each in attempts if each.kind == AttemptKind.REPLAYED],
            gettext_lazy("Got the first result: %(clicks)s."),
        ),
        (
            [number for number, each in attempts if each.kind == AttemptKind.REFUSED],
            gettext_lazy("Refused: %(clicks)s."),
        ),
    )
    return " ".join(
        str(text) % {"clicks": in_ranges(numbers)} for numbers, text in kinds if numbers
    )


def in_ranges(numbers: Iterable[int]) -> str:
    """Return numbers in short: 1, 3–5."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ", ".join(f"{first}" if first == last else f"{first}–{last}" for first, last in ranges)


def _describe_charges(result: int | str, charges: int) -> str:
    if result == REFUSED:
        return gettext("Not charged, and can't pay")
    if result == LOST:
        return gettext("Lost: one of two orders was not charged")
    charged = ngettext("Charged once", "Charged %(charges)s times", charges)
    return charged % {"charges": charges}


def count_results(words: Iterable[str]) -> str:
    """Return how many clicks got which result."""
    counted = Counter(word for word in words if word)
    return " · ".join(f"{count} × {translate_word(word)}" for word, count in counted.most_common())


def translate_word(word: str) -> str:
    """Return a word of lab/expected.py in the reader's language."""
    return pgettext("lab", word)


def _describe_loss(timeline: ScenarioTimeline, charges: int | str) -> str:
    """Return what went wrong with the money, in minor units; empty if nothing did."""
    if charges == REFUSED:
        return gettext("No money was taken, and the customer can't pay any more.")
    if charges == LOST:
        text = gettext(
            "An order counts as paid that nobody paid for: %(money)s cents were never taken."
        )
        return text % {"money": timeline.amount}
    if timeline.balance < 0:
        text = gettext("The account is overdrawn by %(money)s cents: both orders were paid.")
        return text % {"money": -timeline.balance}
    extra = (timeline.charges - 1) * timeline.amount
    if extra < 0:
        return gettext("The column was counted up %(times)s times too often.") % {"times": -extra}
    text = gettext("%(money)s cents too much was taken from the account.")
    return text % {"money": extra} if extra else ""


def _describe_difference(expected: dict[str, Any]) -> str:
    text = gettext("This is not what lab/expected.py has: %(charges)s (%(result)s).")
    return text % {
        "charges": translate_word(str(expected["charges"])),
        "result": translate_word(expected["duplicate_result"]),
    }


def describe_state(run: LabRun, *, has_process: bool) -> str:
    """Return how far a run has come."""
    if not run.is_over and not has_process:
        return gettext("The run ended early: its process is gone.")
    if run.error:
        return _describe_failure(run.error)
    if run.is_over:
        return _describe_end(run)
    if not run.timelines:
        return gettext("Setting up: tables of its own, and two server processes …")
    text = gettext("Running %(mechanism)s, %(number)s of %(all)s …")
    current = list(run.timelines)[-1]
    return text % {
        "mechanism": title(current),
        "number": len(run.timelines),
        "all": len(run.mechanisms),
    }


def _describe_failure(error: str) -> str:
    if any(need in error for need in NEEDS):
        return gettext("Nothing was run: none of the chosen mechanisms can run here.")
    return gettext("The run failed:")


def _describe_end(run: LabRun) -> str:
    if run.differing:
        text = gettext("Finished. Not as expected: %(mechanisms)s.")
        names = ", ".join(title(each.mechanism) for each in run.differing)
        return text % {"mechanisms": names}
    return gettext("Finished. Every mechanism did what was expected.")
