"""What the lab's page asks for."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy

from lab.harness.command import CLICKS, MOST_CLICKS
from lab.harness.redis_server import can_be_had
from lab.harness.scenarios import SCENARIOS
from lab.mechanisms import NAMES, NEED_REDIS
from lab.page.runs import Choice

DEFAULT = ("naive", "look_then_act", "request_id", "state_machine")
WRONG = {
    "scenario": gettext_lazy("Choose one of the scenarios."),
    "mechanism": gettext_lazy("Choose at least one of the mechanisms that can be played here."),
    "clicks": gettext_lazy("Choose 2 to 25 clicks."),
    "run": gettext_lazy("This page had no run of its own. Here is a new one: choose Run again."),
}


def playable() -> list[str]:
    """Return the mechanisms that can be played here."""
    return [name for name in NAMES if name not in NEED_REDIS or can_be_had()]


class RunForm(forms.Form):
    """A run to start: its UUID comes with the page, so that sending it again starts no other."""

    run = forms.UUIDField()
    scenario = forms.ChoiceField(choices=[(name, name) for name in SCENARIOS])
    mechanism = forms.MultipleChoiceField(choices=lambda: [(name, name) for name in playable()])
    clicks = forms.IntegerField(min_value=2, max_value=MOST_CLICKS)

    @property
    def wrong(self) -> list[Any]:
        """What to tell whoever sent it."""
        return [WRONG[name] for name in self.fields if name in self.errors]

    @property
    def choice(self) -> Choice:
        """What was chosen; for a valid form."""
        chosen = self.cleaned_data
        order = [name for name in NAMES if name in chosen["mechanism"]]
        return Choice(chosen["scenario"], order, chosen["clicks"])


def first_choice() -> dict[str, Any]:
    """Return what the page proposes."""
    return {"scenario": "double_click", "mechanism": list(DEFAULT), "clicks": CLICKS}
