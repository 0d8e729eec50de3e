"""The lab's results for people: a table on the terminal, Markdown, and the differences."""

from collections.abc import Iterable, Sequence

from rich import box
from rich.table import Table

from lab.expected import ERROR, FIRST, NEW, NO_RESPONSE, SERVER_ERROR
from lab.harness.matrix import CellResult, MatrixRow
from lab.mechanisms import NEED_REDIS, NEED_SECOND_DATABASE

SIGNS = {FIRST: "=", NEW: "+", ERROR: "!", NO_RESPONSE: "∅", SERVER_ERROR: "?"}
LEGEND = (
    "A cell is how often the customer was really charged, and what all clicks but one got: = the "
    "result of the first charge, + a new result, ! an error, ∅ no response. refused: not charged, "
    "and can't pay; lost: an order counts as paid that isn't."
)
WIDE_COLUMNS = 120  # so many hold all scenarios
NARROW_SCENARIOS = 5  # beside the names of the mechanisms in 80
NO_REDIS = "needs Redis: set REDIS_URL, or install redis-server"
NO_SECOND_DATABASE = (
    "needs a second database: max_prepared_transactions of 4 or more, and a role with CREATEDB"
)
NEEDS = {NO_REDIS: NEED_REDIS, NO_SECOND_DATABASE: NEED_SECOND_DATABASE}


def matrix(rows: Sequence[MatrixRow], scenarios: Sequence[str], *, columns_max: int) -> list[Table]:
    """Return the whole matrix: a row a mechanism, a column a scenario, and the cost.

    :param columns_max: of the terminal; where it is narrow, the scenarios are in several tables
    """
    at_once = len(scenarios) if columns_max >= WIDE_COLUMNS else NARROW_SCENARIOS
    groups = [scenarios[first : first + at_once] for first in range(0, len(scenarios), at_once)]
    return [_table(rows, group, last=group is groups[-1]) for group in groups]


def _table(rows: Sequence[MatrixRow], scenarios: Sequence[str], *, last: bool) -> Table:
    headings = [name.replace("_", "\n") for name in scenarios]
    costs = ("SQL", "time\n× naive") if last else ()
    table = Table("mechanism", *headings, *costs, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.columns[0].no_wrap = True
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        cells = {cell.scenario: f"[{_colour(cell)}]{_sign(cell)}[/]" for cell in row.cells}
        shown = [cells.get(name, "[dim]not run[/]") for name in scenarios]
        table.add_row(row.mechanism, *shown, *(_cost(row) if last else ()))
    return table


def comparison(rows: Sequence[MatrixRow]) -> Table:
    """Return each mechanism's result in one scenario, with the reason for what is expected."""
    table = Table("mechanism", "charges", "duplicates got", "why", box=box.SIMPLE_HEAD)
    for row in rows:
        for cell in row.cells:
            charges = f"[{_colour(cell)}]{cell.charges}[/]"
            table.add_row(row.mechanism, charges, cell.duplicate_result, cell.expected.reason)
        if not row.cells:
            table.add_row(row.mechanism, "[dim]-[/]", "", _need_of(row.mechanism))
    return table


def markdown(rows: Sequence[MatrixRow], scenarios: Sequence[str]) -> str:
    """Return the matrix as the Markdown table of lab/README.md."""
    names = [name.replace("_", " ") for name in scenarios]
    table = [["mechanism", *names, "SQL", "time"], [":--", *["--:"] * (len(names) + 2)]]
    for row in rows:
        link = f"[`{row.mechanism}`](mechanisms/{row.mechanism}.py)"
        cells = [_sign(cell, strong="**") for cell in row.cells]
        table.append([link, *(cells or ["not run"] * len(scenarios)), *_cost(row)])
    return "\n".join(f"| {' | '.join(line)} |" for line in table)


def reasons_not_to_run(mechanisms: Iterable[str]) -> list[str]:
    """Return what some mechanisms need that isn't there, and before it their names."""
    named = {need: [name for name in mechanisms if name in NEEDS[need]] for need in NEEDS}
    return [f"{', '.join(names)} ({need})" for need, names in named.items() if names]


def _need_of(mechanism: str) -> str:
    return next(need for need, names in NEEDS.items() if mechanism in names)


def differences(rows: Sequence[MatrixRow]) -> list[str]:
    """Return a sentence for each cell that is not the expected one."""
    return [
        f"{row.mechanism}, {cell.scenario}: {cell.charges} ({cell.duplicate_result}), expected "
        f"{cell.expected.charges} ({cell.expected.duplicate_result})."
        for row in rows
        for cell in row.cells
        if not cell.as_expected
    ]


def _colour(cell: CellResult) -> str:
    if cell.charges == 1:
        return "green"
    return "bold red" if isinstance(cell.charges, int) else "bold yellow"


def _sign(cell: CellResult, *, strong: str = "") -> str:
    signs = "".join(SIGNS[word] for word in cell.duplicate_result.split(" / "))
    mark = "" if cell.charges == 1 else strong
    return f"{mark}{cell.charges}{mark} {signs}"


def _cost(row: MatrixRow) -> tuple[str, str]:
    if row.cost is None:
        return "", ""
    return str(row.cost.statements), f"{row.cost.against_naive:.1f}"
