"""The form of the lab's page."""

from contextlib import suppress
from typing import Any
from uuid import UUID, uuid5

from django import forms
from django.http import QueryDict
from django.utils.translation import gettext_lazy

from lab import mechanisms
from lab.harness import redis_server, second_database
from lab.harness.command import CLICKS_DEFAULT, CLICKS_MAX
from lab.harness.scenarios import SCENARIOS
from lab.mechanisms import NAMES
from lab.page.runs import RunChoice

MECHANISMS_DEFAULT = ("naive", "look_then_act", "request_id", "state_machine")
MESSAGES = {
    "scenario": gettext_lazy("Choose one of the scenarios."),
    "mechanism": gettext_lazy("Choose at least one of the mechanisms that can run here."),
    "clicks": gettext_lazy("Choose 2 to 25 clicks."),
    "run": gettext_lazy("This page had no run of its own. Here is a new one: choose Run again."),
}


def runnable() -> list[str]:
    """Return the mechanisms that can run here."""
    return mechanisms.runnable(
        NAMES,
        redis=redis_server.is_obtainable(),
        second_database=second_database.is_obtainable(),
    )


class RunForm(forms.Form):
    """A run to start: its UUID comes with the page, so a form sent twice starts one run."""

    run = forms.UUIDField()
    scenario = forms.ChoiceField(choices=[(name, name) for name in SCENARIOS])
    mechanism = forms.MultipleChoiceField(choices=lambda: [(name, name) for name in runnable()])
    clicks = forms.IntegerField(min_value=2, max_value=CLICKS_MAX)

    @property
    def messages(self) -> list[Any]:
        """A message for each field that is wrong."""
        return [MESSAGES[name] for name in self.fields if name in self.errors]

    @property
    def choice(self) -> RunChoice:
        """The choice in a valid form."""
        chosen = self.cleaned_data
        names = [name for name in NAMES if name in chosen["mechanism"]]
        return RunChoice(chosen["scenario"], names, chosen["clicks"])


def of_cell(posted: QueryDict) -> QueryDict:
    """Return the form that a cell of the matrix stands for: its mechanism beside the naive one.

    Each cell of a page has a run of its own, so that a click on another one starts another.
    """
    form = posted.copy()
    cell = posted.get("cell", "")
    mechanism, _, form["scenario"] = cell.partition(" ")
    form.setlist("mechanism", list(dict.fromkeys(["naive", mechanism])))
    form["clicks"] = str(CLICKS_DEFAULT)
    with suppress(ValueError):
        form["run"] = str(uuid5(UUID(posted.get("run", "")), cell))
    return form


def default_choice() -> dict[str, Any]:
    """Return the choice that the page proposes."""
    names = list(MECHANISMS_DEFAULT)
    return {"scenario": "double_click", "mechanism": names, "clicks": CLICKS_DEFAULT}
