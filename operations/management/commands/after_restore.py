import json
from argparse import ArgumentParser, ArgumentTypeError
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import django.db
from django.apps import apps
from django.core.management.base import BaseCommand, CommandError

from operations.reconciliation.sides import SideUnreadable, find_side, settings_side
from operations.restoring.archive import Archive, ArchiveUnreadable, read_archive
from operations.restoring.comparison import Kind, RestoreReport, compare
from operations.restoring.report import as_json, show
from web.arguments import new_file, whole_number_up_to

PRINTED = 20


class Command(BaseCommand):
    help = (
        "After a backup is restored, and before the shop opens again: compares the order system's "
        "database with the log archive and with the payment system, and prints what the restore "
        "forgot. --apply refuses the forgotten keys, and has the relay look up payments that were "
        "made. Exits with 1 while anything is left to do, with 2 if something can't be read. See "
        "docs/restoring.md."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        meaning = "the time that the backup was restored to, such as 2026-01-31T12:00:00Z"
        parser.add_argument("--since", type=_time, required=True, metavar="TIME", help=meaning)
        logs = parser.add_mutually_exclusive_group(required=True)
        meaning = "log files of all web servers since then, .gz too; - is stdin"
        logs.add_argument("--log", nargs="+", default=[], metavar="FILE", help=meaning)
        meaning = "go without: forgotten keys can't be found, and a retry of one runs again"
        logs.add_argument("--without-log", action="store_true", help=meaning)
        meaning = (
            "where the payments are (default: the environment's PAYMENTS_DATABASE_URL; else the "
            "database of the settings). The orders are in the database of the settings"
        )
        parser.add_argument("--payments", metavar="URL", help=meaning)
        meaning = "repair what needs no person; safe to interrupt and to run again"
        parser.add_argument("--apply", action="store_true", help=meaning)
        meaning = "leave out the orders in this file, one id a line: a person has dealt with them"
        parser.add_argument(
            "--dealt-with", type=_order_ids, default=frozenset(), metavar="FILE", help=meaning
        )
        meaning = "write the whole report to this file"
        parser.add_argument("--json", type=new_file, metavar="FILE", help=meaning)
        meaning = "rows of each kind to print (default: %(default)s)"
        number = whole_number_up_to(10**6)
        parser.add_argument("--limit", type=number, default=PRINTED, metavar="N", help=meaning)

    def handle(self, *args: Any, **options: Any) -> None:
        if not apps.is_installed("orders"):
            raise CommandError("Run it where the order system runs.", returncode=2)
        try:
            archive = read_archive(options["log"], since=options["since"])
            report = _compare(archive, options)
            if options["apply"]:
                self.stdout.write(_apply(report))
                report = _compare(archive, options)
        except (ArchiveUnreadable, SideUnreadable) as error:
            raise CommandError(str(error), returncode=2) from error
        except django.db.Error as error:
            reason = str(error).strip().partition("\n")[0]
            raise CommandError(f"Can't read the orders: {reason}", returncode=2) from error
        if options["json"]:
            written = json.dumps(as_json(report), indent=2)
            options["json"].write_text(written + "\n", encoding="utf-8")
        show(report, limit=options["limit"])
        if options["without_log"]:
            self.stdout.write("No log was read: forgotten keys and lost responses are not listed.")
        if report.left:
            raise SystemExit(1)


def _compare(archive: Archive, options: dict[str, Any]) -> RestoreReport:
    return compare(
        archive,
        orders=settings_side("orders"),
        payments=find_side(name="payments", url=options["payments"]),
        dealt_with=options["dealt_with"],
    )


def _apply(report: RestoreReport) -> str:
    # Its tables are not in every process.
    from operations.restoring.repair import hand_to_relay, refuse_lost_keys  # noqa: PLC0415

    refused = refuse_lost_keys(report.lost_keys)
    handed = hand_to_relay(report.kinds[Kind.BEHIND])
    return f"{refused:,} forgotten keys refused from now on; {handed:,} orders handed to the relay."


def _time(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ArgumentTypeError(f"{text!r} is not a time like 2026-01-31T12:00:00Z")
    return moment


def _order_ids(text: str) -> frozenset[UUID]:
    try:
        lines = Path(text).read_text(encoding="utf-8").split()
        return frozenset(map(UUID, lines))
    except (OSError, ValueError) as error:
        raise ArgumentTypeError(f"{text!r} is no file of order ids: {error}") from error
