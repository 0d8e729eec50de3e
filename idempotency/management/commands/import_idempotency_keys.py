import sys
from argparse import ArgumentParser, FileType
from collections.abc import Iterable
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from idempotency import migrating


class Command(BaseCommand):
    help = (
        "Reads the keys of another package, one a line, and makes tombstones of them: "
        "`idempotency.migrating.refuse_imported` refuses them. Safe to interrupt and to run again. "
        "With --identities: the same for keys of this app that a restored backup has forgotten."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "keys", type=FileType(), nargs="?", default=sys.stdin, help="a file; else stdin"
        )
        parser.add_argument(
            "--identities",
            action="store_true",
            help="the lines are records' identities in hex, as the signal `executed` names them",
        )
        parser.add_argument("--batch", type=int, default=1000, help="rows in one transaction")
        parser.add_argument("--database", default="default", help="its alias in the settings")

    def handle(
        self, *args: Any, keys: Iterable[str], batch: int, database: str, **options: Any
    ) -> None:
        lines, batch = migrating.stripped(keys), max(1, batch)
        if options["identities"]:
            identities = map(_identity, lines)
            imported = migrating.import_identities(identities, batch=batch, using=database)
        else:
            imported = migrating.import_keys(lines, batch=batch, using=database)
        self.stdout.write(f"{imported} keys imported as tombstones")


def _identity(line: str) -> bytes:
    try:
        identity = bytes.fromhex(line)
    except ValueError:
        identity = b""
    if len(identity) != migrating.IDENTITY_BYTES:
        raise CommandError(f"{line[:80]!r} is no identity of a record")
    return identity
