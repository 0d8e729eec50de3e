"""The table, for a terminal and in Markdown."""

import re
from collections.abc import Iterator
from datetime import date

from rich.console import Console
from rich.table import Table

from benchmarks.packages.catalogue import (
    CHECKS,
    COMMON,
    CONTENDERS,
    Configuration,
    Contender,
    named,
)
from benchmarks.packages.verdicts import is_passed, mark

# The verdicts of each check, by a contender's module and its configuration's name.
Results = dict[tuple[str, str], dict[str, str]]

LEGEND = (
    "✓ as a caller would want it · ✗ promised by its documents, and not kept · "
    "– not kept, and not promised"
)
VERSIONS = "each with " + ", ".join(named(pin) for pin in COMMON[:4])


def title(contender: Contender, configuration: Configuration) -> str:
    """Return a row's heading."""
    undocumented = "" if configuration.documented else ", in none of its documents"
    return f"{contender.title} ({configuration.name}{undocumented})"


def rows(results: Results) -> Iterator[list[str]]:
    """Yield the heading and the cells of every configuration that was run."""
    for contender in CONTENDERS:
        for configuration in contender.configurations:
            verdicts = results.get((contender.module, configuration.name))
            if verdicts is not None:
                cells = [
                    mark(verdicts[check], promised=check in configuration.promised)
                    for check in CHECKS
                ]
                yield [title(contender, configuration), *cells]


def broken_promises(contender: Contender, results: Results) -> list[str]:
    """Return the checks that a contender's documents promise to pass, and that it did not."""
    return [
        f"{CHECKS[check]}: {verdicts[check]}"
        for configuration in contender.configurations
        if (verdicts := results.get((contender.module, configuration.name)))
        for check in CHECKS
        if check in configuration.promised and not is_passed(verdicts[check])
    ]


def markdown(results: Results, *, day: date) -> str:
    """Return the table and the promises, as they stand in the README."""
    heading = ["", *CHECKS.values()]
    lines = [heading, ["---"] * len(heading), *rows(results)]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    shown = [each for each in CONTENDERS if any(module == each.module for module, _ in results)]
    promises = "\n".join(f"- **{each.title}**: {each.promises}" for each in shown)
    return f"Measured on {day.isoformat()}, {VERSIONS}. {LEGEND}.\n\n{table}\n\n{promises}\n"


def day_of(text: str) -> date:
    """Return the day of the table in a text that `markdown` is part of."""
    found = re.search(r"Measured on (\S+),", text)
    assert found, "there is no table"
    return date.fromisoformat(found[1])


def show(results: Results, *, day: date) -> None:
    """Print the table to the terminal."""
    table = Table(
        "", *CHECKS.values(), title=f"{day.isoformat()}, {VERSIONS}\n{LEGEND}", show_lines=True
    )
    for cells in rows(results):
        table.add_row(*cells)
    Console(width=200).print(table)
