from typing import Any

from django.core.management.base import BaseCommand
from rich.console import Console
from rich.table import Table

from operations.audit import check_invariants


class Command(BaseCommand):
    help = (
        "Checks every invariant in one snapshot of the database and prints a table. "
        "Exits 1 on any breach. Reads only."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        with Console(stderr=True).status("Checking every invariant …"):
            findings = check_invariants()
        table = Table("invariant", "rule", "breaches", title="Audit")
        for finding in findings:
            colour = "red" if finding.breaches else "green"
            table.add_row(
                str(finding.invariant), finding.rule, f"[{colour}]{finding.breaches}[/{colour}]"
            )
        Console().print(table)
        if any(finding.breaches for finding in findings):
            raise SystemExit(1)
