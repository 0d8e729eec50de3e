"""The lab's results as people read them: a table on the terminal, Markdown, JSON."""

from collections.abc import Sequence

from rich import box
from rich.table import Table

from lab.expected import ERROR, FIRST, NEW
from lab.harness.matrix import BROKEN, NOTHING, Line, Outcome

SIGNS = {FIRST: "=", NEW: "+", ERROR: "!", NOTHING: "∅", BROKEN: "?"}
LEGEND = (
    "A cell is how often the customer was really charged, and what all but one of the clicks were "
    "told: = the result of the first charge, + a new result, ! an error, ∅ nothing. refused: not "
    "charged, and can't pay; lost: an order counts as paid that isn't."
)
NO_REDIS = "needs Redis: set REDIS_URL, or install redis-server"


def matrix(lines: Sequence[Line], scenarios: Sequence[str]) -> Table:
    """Return the whole matrix: a row a mechanism, a column a scenario, and the cost."""
    headings = [name.replace("_", "\n", 1).replace("_", " ") for name in scenarios]
    table = Table("mechanism", *headings, "SQL", "time\n× naive", box=box.SIMPLE_HEAD)
    for column in table.columns[1:]:
        column.justify = "right"
    for line in lines:
        cells = [_coloured(outcome) for outcome in line.outcomes]
        table.add_row(
            line.mechanism, *(cells or ["[dim]no Redis[/]"] * len(scenarios)), *_cost(line)
        )
    return table


def comparison(lines: Sequence[Line]) -> Table:
    """Return a row for each mechanism's outcome of one scenario, beside what was expected of it."""
    table = Table("mechanism", "charges", "repeats were told", "why", box=box.SIMPLE_HEAD)
    for line in lines:
        for outcome in line.outcomes:
            charges = f"[{_colour(outcome)}]{outcome.charges}[/]"
            table.add_row(line.mechanism, charges, outcome.told, outcome.expected.reason)
        if not line.outcomes:
            table.add_row(line.mechanism, "[dim]-[/]", "", NO_REDIS)
    return table


def markdown(lines: Sequence[Line], scenarios: Sequence[str]) -> str:
    """Return the matrix as a Markdown table."""
    names = [name.replace("_", " ") for name in scenarios]
    rows = [["mechanism", *names, "SQL", "time"], [":--", *["--:"] * (len(names) + 2)]]
    for line in lines:
        link = f"[`{line.mechanism}`](lab/mechanisms/{line.mechanism}.py)"
        cells = [_sign(outcome, strong="**") for outcome in line.outcomes]
        rows.append([link, *(cells or ["no Redis"] * len(scenarios)), *_cost(line)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def differences(lines: Sequence[Line]) -> list[str]:
    """Return a sentence for each outcome that is not the expected one."""
    return [
        f"{line.mechanism}, {outcome.scenario}: {outcome.charges} ({outcome.told}), expected "
        f"{outcome.expected.charges} ({outcome.expected.told})."
        for line in lines
        for outcome in line.outcomes
        if not outcome.as_expected
    ]


def _coloured(outcome: Outcome) -> str:
    return f"[{_colour(outcome)}]{_sign(outcome)}[/]"


def _colour(outcome: Outcome) -> str:
    if outcome.charges == 1:
        return "green"
    return "bold red" if isinstance(outcome.charges, int) else "bold yellow"


def _sign(outcome: Outcome, *, strong: str = "") -> str:
    signs = "".join(SIGNS[word] for word in outcome.told.split(" / "))
    mark = "" if outcome.charges == 1 else strong
    return f"{mark}{outcome.charges}{mark} {signs}"


def _cost(line: Line) -> tuple[str, str]:
    if line.cost is None:
        return "", ""
    return str(line.cost.statements), f"{line.cost.against_naive:.1f}"
