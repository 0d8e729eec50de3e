from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from idempotency import purge


class Command(BaseCommand):
    help = (
        "Turns each response past its retained_until into a tombstone (the key stays refused), in "
        "small transactions. Deletes expired tokens, finished rate counts, journaled requests "
        "past their retention, and old tombstones whose keys carry their time. Safe to interrupt "
        "and to run again."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--batch", type=int, default=1000, help="rows in one transaction")
        parser.add_argument("--database", default="default", help="its alias in the settings")

    def handle(self, *args: Any, batch: int, database: str, **options: Any) -> None:
        records = purge.purge_records(batch=max(1, batch), using=database)
        tombstones = purge.delete_tombstones(batch=max(1, batch), using=database)
        tokens, counts = purge.delete_expired(using=database)
        journaled = purge.delete_journaled(batch=max(1, batch))
        self.stdout.write(
            f"{records} responses turned into tombstones; {tombstones} tombstones, "
            f"{tokens} tokens, {counts} rate counts and {journaled} journaled requests deleted"
        )
