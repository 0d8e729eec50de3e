"""The start page's matrix: what is expected of every mechanism in every scenario, to be played."""

from dataclasses import dataclass

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from lab.expected import ERROR, EXPECTED, FIRST, NEW, ExpectedCell
from lab.harness.command import CLICKS_DEFAULT
from lab.harness.scenarios import SCENARIOS
from lab.mechanisms import NAMES
from lab.page import wording
from lab.page.forms import runnable

SIGNS = {FIRST: "", NEW: "", ERROR: "!"}


@dataclass(frozen=True)
class Cell:
    """A mechanism in a scenario: what its button shows, says and plays."""

    value: str
    text: str
    tone: str
    label: str
    reason: SafeString


@dataclass(frozen=True)
class Row:
    """A mechanism; it can't be played where it needs what isn't there."""

    title: str
    name: str
    is_runnable: bool
    cells: list[Cell]


def matrix() -> list[Row]:
    """Return a row for each mechanism."""
    here = runnable()
    return [
        Row(wording.title(name), name, name in here, [_cell(name, each) for each in SCENARIOS])
        for name in NAMES
    ]


def _cell(mechanism: str, scenario: str) -> Cell:
    expected = EXPECTED[mechanism].cell(scenario, clicks=CLICKS_DEFAULT)
    charges = 0 if isinstance(expected.charges, str) else expected.charges  # refused, or lost
    where = f"{wording.title(mechanism)}, {wording.title(scenario)}"
    return Cell(
        f"{mechanism} {scenario}",
        f"{charges}{SIGNS[expected.duplicate_result]}",
        wording.tone_of(expected.charges, expected.duplicate_result),
        f"{where}: {_in_words(expected)}",
        wording.translate(expected.reason),
    )


def _in_words(expected: ExpectedCell) -> str:
    """Return the charges, and whether the duplicates got an error."""
    if isinstance(expected.charges, str):
        return wording.translate_word(expected.charges)
    charges = ngettext("charged once", "charged %(charges)s times", expected.charges)
    text = charges % {"charges": expected.charges}
    return f"{text}, {_('duplicates get an error')}" if expected.duplicate_result == ERROR else text
