"""The lab's page: choose, run, watch, read why."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.cache import patch_cache_control
from django.utils.translation import get_language
from django.views.decorators.cache import never_cache
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import condition, require_safe

from lab import mechanisms
from lab.harness.command import MOST_CLICKS
from lab.harness.scenarios import SCENARIOS
from lab.mechanisms import NAMES
from lab.page import runs, timeline, wording
from lab.page.drawing import Drawing, draw, scale_of
from lab.page.forms import RunForm, first_choice, playable
from lab.page.timeline import Performance, Story


@dataclass(frozen=True)
class Panel:
    """What the page shows of a mechanism."""

    name: str
    title: str
    played: Performance
    drawing: Drawing
    verdict: wording.Verdict | None
    explanation: wording.Explanation
    tries: list[dict[str, Any]]
    balances: list[tuple[str, int]]


@never_cache
@require_safe
@gzip_page
def start(request: HttpRequest) -> HttpResponse:
    """Show what there is to choose, with a run that nobody has started yet."""
    chosen = first_choice()
    if "scenario" in request.GET:
        names = request.GET.getlist("mechanism")
        chosen = {"scenario": request.GET["scenario"], "mechanism": names}
        chosen["clicks"] = request.GET.get("clicks", "")
    return _form(request, RunForm(initial=chosen), run=uuid4())


def run(request: HttpRequest) -> HttpResponse:
    """Start the page's run, and lead to it; a repeat leads to the same one."""
    if request.method != "POST":  # as after choosing another language on a form that came back
        return redirect("lab:start")
    form = RunForm(request.POST)
    if not form.is_valid():
        asked = uuid4() if "run" in form.errors else UUID(request.POST["run"])
        return _form(request, form, run=asked, status=400)
    asked = form.cleaned_data["run"]
    try:
        runs.start(asked, form.choice)
    except runs.Busy as busy:
        return _form(request, form, run=asked, status=409, busy=busy.run)
    response = redirect("lab:watch", asked)
    response.status_code = 303
    return response


@require_safe
@gzip_page
def watch(request: HttpRequest, run: UUID) -> HttpResponse:
    """Show a run, as far as it has come."""
    return render(request, "lab/watch.html", _shown(run))


def _version(request: HttpRequest, run: UUID) -> str | None:
    file = runs.record_of(run)
    is_played = runs.is_played(file)
    size = file.stat().st_size if file.exists() else 0
    return f'"{size}-{is_played}-{get_language()}"'


@require_safe
@gzip_page
@condition(etag_func=_version)
def now(request: HttpRequest, run: UUID) -> HttpResponse:
    """Show what changes while a run goes on; nothing is sent where nothing has changed."""
    response = render(request, "lab/run.html", _shown(run))
    patch_cache_control(response, no_cache=True)
    return response


@require_safe
@gzip_page
def source(request: HttpRequest, name: str) -> HttpResponse:
    """Show a mechanism's file."""
    if name not in NAMES:
        raise Http404(name)
    file = Path(str(mechanisms.load(name).__file__))
    context = {"name": name, "title": wording.title(name), "parts": wording.explain(name)}
    return render(request, "lab/source.html", context | {"code": file.read_text("utf-8")})


def _form(
    request: HttpRequest,
    form: RunForm,
    *,
    run: UUID,
    status: int = 200,
    busy: UUID | None = None,
) -> HttpResponse:
    chosen, here = form["mechanism"].value() or [], playable()
    context = {
        "form": form,
        "run": run,
        "busy": busy,
        "most": MOST_CLICKS,
        "scenarios": [
            {"name": name, "title": wording.title(name), "about": wording.prose(each.about)}
            for name, each in SCENARIOS.items()
        ],
        "mechanisms": [
            {
                "name": name,
                "title": wording.title(name),
                "what": wording.prose(wording.texts(name)[0]),
                "can": name in here,
                "chosen": name in chosen and name in here,
            }
            for name in NAMES
        ],
    }
    return render(request, "lab/start.html", context, status=status)


def _shown(run: UUID) -> dict[str, Any]:
    file = runs.record_of(run)
    is_played = runs.is_played(file)  # before reading: then a process that is gone has said all
    try:
        told = timeline.read(file)
    except FileNotFoundError:
        raise Http404(str(run)) from None
    scenario = SCENARIOS[told.scenario]
    return {
        "run": run,
        "story": told,
        "title": wording.title(told.scenario),
        "about": wording.prose(scenario.about),
        "clicks": scenario.clicks or told.clicks,
        "state": wording.state(told, is_played=is_played),
        "live": is_played and not told.is_over,
        "panels": [_panel(each) for each in told.performances.values()],
        "left_out": _left_out(told),
    }


def _left_out(told: Story) -> list[str]:
    """Return what was chosen and not played, once that is certain."""
    if not told.is_over:
        return []
    return [wording.title(name) for name in told.mechanisms if name not in told.performances]


def _panel(played: Performance) -> Panel:
    began = scale_of(played).began
    return Panel(
        played.mechanism,
        wording.title(played.mechanism),
        played,
        draw(played),
        wording.verdict(played),
        wording.explain(played.mechanism),
        [_row(each, played, began) for each in played.tries],
        [(f"{max(ms - began, 0):.1f}", balance) for ms, balance in played.balances],
    )


def _row(each: timeline.Try, played: Performance, began: float) -> dict[str, Any]:
    """Return a try as the table has it, which says in words what the drawing shows."""
    return {
        "arrived": "" if each.arrived is None else f"{each.arrived - began:.1f}",
        "ended": "" if each.ended is None else f"{each.ended - began:.1f}",
        "waited": f"{each.waited(played.now):.1f}",
        "kind": each.kind,
        "became": wording.KINDS[each.kind],
        "fate": each.fate,
        "text": each.text,
    }
