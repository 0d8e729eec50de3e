from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from lab.harness import report
from lab.harness.command import ALL, CLICKS, MECHANISMS, MOST_CLICKS, conclude, play, show, watched
from lab.harness.scenarios import SCENARIOS
from lab.mechanisms import NAMES
from web.arguments import new_file, number_up_to


class Command(BaseCommand):
    help = (
        "Plays every scenario with every mechanism of idempotency, with real processes on a real "
        "PostgreSQL (and Redis), and prints how often the customer was charged, what the repeats "
        "were told, and what a payment costs. Exits with 1 if a cell is not as lab/expected.py "
        "has it. Makes tables of its own and drops them."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--clicks",
            type=number_up_to(MOST_CLICKS),
            default=CLICKS,
            metavar="N",
            help="clicks in the scenarios that have any number of them (default: %(default)s)",
        )
        parser.add_argument(
            "--mechanism",
            action="append",
            choices=MECHANISMS,
            metavar="NAME",
            help=f"one row of it (default: all), or more: {', '.join(NAMES)}",
        )
        parser.add_argument(
            "--scenario",
            action="append",
            choices=tuple(SCENARIOS),
            metavar="NAME",
            help=f"one column of it (default: all), or more: {', '.join(SCENARIOS)}",
        )
        parser.add_argument("--json", type=new_file, metavar="FILE", help="write everything there")
        parser.add_argument(
            "--markdown", action="store_true", help="print the matrix as the README has it"
        )
        parser.add_argument(
            "--watch",
            type=new_file,
            metavar="FILE",
            help="write every event there as it happens, as the lab's page reads it; costs are "
            "not measured then",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        chosen = options["scenario"] or SCENARIOS
        scenarios = tuple(name for name in SCENARIOS if name in chosen)
        mechanisms, clicks = options["mechanism"] or ALL, options["clicks"]
        with watched(options["watch"]) as record:
            costs = options["watch"] is None
            played = play(mechanisms, scenarios, clicks=clicks, costs=costs, record=record)
        if options["markdown"]:
            self.stdout.write(report.markdown(played.lines, scenarios))
        else:
            show(report.matrix(played.lines, scenarios))
            self.stdout.write(report.LEGEND)
        conclude(played, options["json"])
