from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from config.arguments import new_file, number_up_to
from lab import report
from lab.command import ALL, CLICKS, MECHANISMS, MOST_CLICKS, conclude, play, show
from lab.mechanisms import NAMES
from lab.scenes import SCENARIOS


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
            choices=MECHANISMS,
            default=ALL,
            metavar="NAME",
            help=f"one row of it (default: all): {', '.join(NAMES)}",
        )
        parser.add_argument("--json", type=new_file, metavar="FILE", help="write everything there")
        parser.add_argument(
            "--markdown", action="store_true", help="print the matrix as the README has it"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        scenarios = tuple(SCENARIOS)
        played = play(options["mechanism"], scenarios, clicks=options["clicks"], costs=True)
        if options["markdown"]:
            self.stdout.write(report.markdown(played.lines, scenarios))
        else:
            show(report.matrix(played.lines, scenarios))
            self.stdout.write(report.LEGEND)
        conclude(played, options["json"])
