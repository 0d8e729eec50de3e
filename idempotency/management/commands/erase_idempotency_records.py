from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from idempotency import purge


class Command(BaseCommand):
    help = (
        "Turns all records of a scope, such as user:17, into tombstones: nothing of its requests "
        "and responses is left, and its keys stay refused. Safe to repeat and to interrupt."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--scope", required=True, help="whose records, such as user:17")
        parser.add_argument("--batch", type=int, default=1000, help="rows in one transaction")
        parser.add_argument("--database", default="default", help="its alias in the settings")

    def handle(self, *args: Any, scope: str, batch: int, database: str, **options: Any) -> None:
        erased = purge.erase_scope(scope, batch=max(1, batch), using=database)
        self.stdout.write(f"{erased} records of {scope} turned into tombstones")
