"""The report of a simulation: a table on the terminal, a JSON file, and what failed."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from simulator.results import PlanResult

COLUMNS_MIN = 164  # of a terminal, for the table's headings in one line
HEADINGS = (
    *("", "orders", "clicks", "responses", "replays", "retries", "charges"),
    *("double charges", "money missing", "p50 / p99 ms", "audit"),
)
# Where a proxy before the payment system counts what passes it: instead of replays and retries.
HEADINGS_WITH_PROXY = (
    *("", "orders", "clicks", "responses", "requests", "responses lost", "duplicates", "charges"),
    *HEADINGS[7:],
)
FAILURES = {
    "double_charges": "{:,} orders were charged more than once",
    "money_missing": "{:,} minor units are missing from the customers' accounts",
    "wrong_responses": "{:,} responses are wrong",
    "unfinished_clicks": "{:,} clicks never got a final response",
}

Audit = dict[str, Any]


@dataclass(frozen=True)
class Contrast:
    """What the same clicks came to without any mechanism: how often each order was charged."""

    clicks: int
    charges: list[int]

    @property
    def cells(self) -> list[str]:
        """The cells of its row, which has no replays, no retries and no audit."""
        clicks = self.clicks * len(self.charges)
        charged = sum(self.charges)
        return [
            *("naive, the same clicks", f"{len(self.charges):,}", f"{clicks:,}", "", "", ""),
            f"[bold red]{charged:,}[/]",
            _red(sum(count > 1 for count in self.charges)),
            *("", "", ""),
        ]


def failures_of(results: Sequence[PlanResult], audit: Audit | None) -> list[str]:
    """Return a sentence for each promise that was broken."""
    failures = [
        f"{result.row}: {text.format(getattr(result, name))}."
        for result in results
        for name, text in FAILURES.items()
        if getattr(result, name)
    ]
    if audit and not audit["ok"]:
        failures.append(f"The audit found {audit['breaches']:,} breaches; see: manage.py audit")
    return failures


def as_json(
    options: dict[str, Any], results: Sequence[PlanResult], audit: Audit | None, *, seconds: float
) -> dict[str, Any]:
    """Return the report as a document."""
    return {
        "scenario": options["scenario"],
        "base_url": options["base_url"],
        "payments_url": options["payments_url"] or options["base_url"],
        "chaos_url": options["chaos_url"],
        "rows": [asdict(result) for result in results],
        "audit": audit,
        "ok": not failures_of(results, audit),
        "seconds": round(seconds, 2),
    }


def show(
    results: Sequence[PlanResult], audit: Audit | None, contrast: Contrast | None = None
) -> None:
    """Print the table, the contrast first, and the failures below it."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=COLUMNS_MIN)
    verdict = "-" if audit is None else "ok" if audit["ok"] else _red(audit["breaches"])
    headings = HEADINGS if results[0].requests is None else HEADINGS_WITH_PROXY
    above = [tuple(contrast.cells)] if contrast else []
    lines = [headings, *above, *((*_cells(result), verdict) for result in results)]
    if console.width < COLUMNS_MIN:
        lines = list(zip(*lines, strict=True))  # on its side it fits
    table = Table(*lines[0], box=box.SIMPLE_HEAD, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for line in lines[1:]:
        table.add_row(*line)
    console.print(table)
    for text in failures_of(results, audit) or ["Every order was charged once."]:
        console.print(text, highlight=False)


def _cells(result: PlanResult) -> list[str]:
    responses = " · ".join(f"{status}×{count:,}" for status, count in result.responses.items())
    counts: tuple[int | None, ...] = (result.requests, result.responses_lost, result.duplicates)
    if result.requests is None:
        counts = (result.replays, result.retries)
    times = f"{result.p50_ms:,.0f} / {result.p99_ms:,.0f}"
    return [
        *(result.row, f"{result.orders:,}", f"{result.clicks:,}", responses),
        *(f"{count:,}" for count in (*counts, result.charges)),
        *(_red(result.double_charges), _red(result.money_missing), times),
    ]


def _red(count: int) -> str:
    return f"[bold red]{count:,}[/]" if count else "0"
