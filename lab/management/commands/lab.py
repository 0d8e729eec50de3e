from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from lab.harness import report
from lab.harness.command import (
    ALL,
    CLICKS_DEFAULT,
    CLICKS_MAX,
    MECHANISMS,
    conclude,
    console,
    record_to,
    run_lab,
)
from lab.harness.scenarios import SCENARIOS
from lab.mechanisms import NAMES
from web.arguments import new_file, number_up_to


class Command(BaseCommand):
    help = (
        "Runs every scenario with every mechanism of idempotency, with real processes on a real "
        "PostgreSQL (and Redis), and prints how often the customer was charged, the result that "
        "duplicates got, and the cost of a payment. Exits with 1 if a cell is not as in "
        "lab/expected.py. Creates its own tables and drops them."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--clicks",
            type=number_up_to(CLICKS_MAX),
            default=CLICKS_DEFAULT,
            metavar="N",
            help="clicks, in the scenarios without a fixed number (default: %(default)s)",
        )
        parser.add_argument(
            "--mechanism",
            action="append",
            choices=MECHANISMS,
            metavar="NAME",
            help="a row of the matrix (default: all), or several: " + ", ".join(NAMES),
        )
        parser.add_argument(
            "--scenario",
            action="append",
            choices=tuple(SCENARIOS),
            metavar="NAME",
            help="a column of the matrix (default: all), or several: " + ", ".join(SCENARIOS),
        )
        parser.add_argument(
            "--json", type=new_file, metavar="FILE", help="write every detail to this file"
        )
        parser.add_argument(
            "--markdown", action="store_true", help="print the matrix as lab/README.md has it"
        )
        parser.add_argument(
            "--watch",
            type=new_file,
            metavar="FILE",
            help="write every event to this file as it happens, for the lab's page; costs are "
            "then not measured",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        chosen = options["scenario"] or SCENARIOS
        scenarios = tuple(name for name in SCENARIOS if name in chosen)
        mechanisms, clicks = options["mechanism"] or ALL, options["clicks"]
        with record_to(options["watch"]) as recorder:
            finished = run_lab(
                mechanisms,
                scenarios,
                clicks=clicks,
                measure_costs=options["watch"] is None,
                recorder=recorder,
            )
        if options["markdown"]:
            self.stdout.write(report.markdown(finished.rows, scenarios))
        else:
            out = console()
            out.print(*report.matrix(finished.rows, scenarios, columns_max=out.width), sep="\n")
            self.stdout.write(report.LEGEND)
        conclude(finished, options["json"])
