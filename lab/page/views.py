"""The lab's pages: choose, run, watch, read the reason and the source."""

import math
from collections.abc import Collection, Sequence
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
from lab.harness.command import CLICKS_MAX
from lab.harness.scenarios import SCENARIOS
from lab.mechanisms import NAMES
from lab.page import recording, runs, wording
from lab.page.attempt import ClickAttempt
from lab.page.drawing import Drawing, draw, scale_of
from lab.page.forms import RunForm, default_choice, of_cell, runnable
from lab.page.matrix import matrix
from lab.page.parts import BarPart, parts_of
from lab.page.pictures import PICTURES
from lab.page.recording import LabRun
from lab.page.timeline import ScenarioTimeline

AXIS_DIGITS_MAX = 5
LANES_MAX = 3  # played back beside each other: the naive one is the first, where it was chosen


@dataclass(frozen=True)
class Panel:
    """A mechanism's part of the page."""

    name: str
    title: str
    timeline: ScenarioTimeline
    drawing: Drawing
    verdict: wording.Verdict | None
    explanation: wording.Explanation
    attempts: list[dict[str, Any]]
    balances: list[tuple[str, int]]
    parts: list[BarPart]
    ms: int  # how long its time axis is


@never_cache
@require_safe
@gzip_page
def start(request: HttpRequest) -> HttpResponse:
    """Show the form, with the id of a new run."""
    chosen = default_choice()
    if "scenario" in request.GET:
        names = request.GET.getlist("mechanism")
        chosen = {"scenario": request.GET["scenario"], "mechanism": names}
        chosen["clicks"] = request.GET.get("clicks", "")
    return _render_form(request, RunForm(initial=chosen), run_id=uuid4())


def run(request: HttpRequest) -> HttpResponse:
    """Start the form's run, and redirect to it; a duplicate is redirected to the same run."""
    if request.method != "POST":  # as after choosing another language on a form that came back
        return redirect("lab:start")
    form = RunForm(of_cell(request.POST) if "cell" in request.POST else request.POST)
    if not form.is_valid():
        run_id = uuid4() if "run" in form.errors else UUID(form.data["run"])
        return _render_form(request, form, run_id=run_id, status=400)
    run_id = form.cleaned_data["run"]
    try:
        runs.start(run_id, form.choice)
    except runs.AnotherRunUnderWay as other:
        return _render_form(request, form, run_id=run_id, status=409, under_way=other.run_id)
    response = redirect("lab:watch", run_id)
    response.status_code = 303
    return response


@require_safe
@gzip_page
def watch(request: HttpRequest, run_id: UUID) -> HttpResponse:
    """Show a run, as far as it is recorded."""
    return render(request, "lab/watch.html", _run_context(run_id))


def _version(request: HttpRequest, run_id: UUID) -> str | None:
    file = runs.recording_of(run_id)
    has_process = runs.has_process(file)
    size = file.stat().st_size if file.exists() else 0
    return f'"{size}-{has_process}-{get_language()}-{_axis_ms(request)}"'


def _axis_ms(request: HttpRequest) -> int:
    """Return the least length of the time axes, for a drawing beside another one."""
    text = request.GET.get("ms", "")
    is_number = text.isascii() and text.isdigit() and len(text) <= AXIS_DIGITS_MAX
    return max(int(text), 1) if is_number else 1


@require_safe
@gzip_page
@condition(etag_func=_version)
def now(request: HttpRequest, run_id: UUID) -> HttpResponse:
    """Show the part of the page that changes while a run is under way; 304 where nothing did."""
    context = _run_context(run_id, ms_min=_axis_ms(request))
    response = render(request, "lab/run.html", context)
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


def _render_form(
    request: HttpRequest,
    form: RunForm,
    *,
    run_id: UUID,
    status: int = 200,
    under_way: UUID | None = None,
) -> HttpResponse:
    context = {
        "own": "scenario" in request.GET,
        "form": form,
        "run_id": run_id,
        "under_way": under_way,
        "clicks_max": CLICKS_MAX,
        "matrix": matrix(),
        "scenarios": [
            {
                "name": name,
                "title": wording.title(name),
                "description": wording.translate(each.description),
                "picture": PICTURES[name],
            }
            for name, each in SCENARIOS.items()
        ],
        "mechanisms": _mechanism_choices(form["mechanism"].value() or []),
    }
    return render(request, "lab/start.html", context, status=status)


def _mechanism_choices(chosen: Collection[str]) -> list[dict[str, Any]]:
    here = runnable()
    return [
        {
            "name": name,
            "title": wording.title(name),
            "summary": wording.translate(wording.docstring_parts(name)[0]),
            "is_runnable": name in here,
            "need": wording.NEED_LABELS.get(name, ""),
            "chosen": name in chosen and name in here,
        }
        for name in NAMES
    ]


def _run_context(run_id: UUID, *, ms_min: int = 1) -> dict[str, Any]:
    file = runs.recording_of(run_id)
    has_process = runs.has_process(file)  # before reading: a process that is gone writes no more
    try:
        run = recording.read(file)
    except FileNotFoundError:
        raise Http404(str(run_id)) from None
    scenario = SCENARIOS[run.scenario]
    axis_ms = max([ms_min, *map(axis_ms_of, run.timelines.values())])  # one for all panels
    panels = [_panel(each, axis_ms) for each in run.timelines.values()]
    return {
        "run_id": run_id,
        "lab_run": run,
        "title": wording.title(run.scenario),
        "description": wording.translate(scenario.description),
        "clicks": scenario.clicks or run.clicks,
        "state": wording.describe_state(run, has_process=has_process),
        "live": has_process and not run.is_over,
        "panels": panels,
        "lanes": _lanes(panels) if run.is_over and not run.error else [],
        "axis_ms": axis_ms,
        "not_run": _not_run(run),
    }


def _lanes(panels: Sequence[Panel]) -> list[tuple[Panel, Drawing]]:
    """Return the panels to play back, each with its drawing in parts."""
    return [
        (each, draw(each.timeline, ms_min=each.ms, names_parts=True)) for each in panels[:LANES_MAX]
    ]


def _not_run(run: LabRun) -> list[str]:
    """Return the mechanisms that were chosen and not run, once that is certain."""
    chosen = run.mechanisms if run.is_over else ()
    return [wording.title(name) for name in chosen if name not in run.timelines]


def _panel(timeline: ScenarioTimeline, ms_min: int) -> Panel:
    scale = scale_of(timeline, ms_min=ms_min)
    began = scale.began
    return Panel(
        timeline.mechanism,
        wording.title(timeline.mechanism),
        timeline,
        draw(timeline, ms_min=ms_min),
        wording.judge(timeline),
        wording.explain(timeline.mechanism),
        [_table_row(each, timeline.now, began) for each in timeline.attempts],
        [(f"{max(ms - began, 0):.1f}", balance) for ms, balance in timeline.balances],
        parts_of(timeline, scale),
        ms_min,
    )


def axis_ms_of(timeline: ScenarioTimeline) -> int:
    scale = scale_of(timeline)
    return math.ceil(scale.ends - scale.began)


def _table_row(each: ClickAttempt, now: float, began: float) -> dict[str, Any]:
    """Return an attempt's row of the table, which has in words what the drawing shows."""
    return {
        "arrived": "" if each.arrived is None else f"{each.arrived - began:.1f}",
        "ended": "" if each.ended is None else f"{each.ended - began:.1f}",
        "waited": f"{each.waited_ms(now):.1f}",
        "kind": each.kind,
        "label": wording.KIND_LABELS[each.kind],
        "fault": each.fault,
        "text": each.text,
    }
