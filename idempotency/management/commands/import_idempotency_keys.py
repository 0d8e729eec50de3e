import sys
from argparse import ArgumentParser, FileType
from collections.abc import Iterable
from typing import Any

from django.core.management.base import BaseCommand

from idempotency import migrating


class Command(BaseCommand):
    help = (
        "Reads the keys of another package, one a line, and makes tombstones of them: "
        "`idempotency.migrating.refuse_imported` refuses them. Safe to repeat and to interrupt."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "keys", type=FileType(), nargs="?", default=sys.stdin, help="a file; else stdin"
        )
        parser.add_argument("--batch", type=int, default=1000, help="rows in one transaction")
        parser.add_argument("--database", default="default", help="its alias in the settings")

    def handle(
        self, *args: Any, keys: Iterable[str], batch: int, database: str, **options: Any
    ) -> None:
        old = migrating.stripped(keys)
        imported = migrating.import_keys(old, batch=max(1, batch), using=database)
        self.stdout.write(f"{imported} keys imported as tombstones")
