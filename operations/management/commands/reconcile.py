import json
import time
from argparse import ArgumentParser
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from operations.reconciliation.comparison import reconcile
from operations.reconciliation.report import (
    LISTED_MAX,
    Difference,
    DifferenceKind,
    KindReport,
    ReconciliationReport,
)
from operations.reconciliation.rows import OrderRow, PaymentRow
from operations.reconciliation.sides import SideUnreadable, find_side
from web.arguments import new_file, whole_number_up_to

COLUMNS = 164  # of the tables, where there is no terminal
GRACE_SECONDS = 60
PRINTED = 20


class Command(BaseCommand):
    help = (
        "Compares orders with payments by order id, where each may be in a database of its own: "
        "paid orders without a succeeded payment, succeeded payments without a paid order, terms "
        "that differ, orders still paying. Exits with 1 on any difference older than the grace, "
        "with 2 if a database can't be read. Reads only."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        for side in ("orders", "payments"):
            meaning = (
                f"where the {side} are (default: the environment's {side.upper()}_DATABASE_URL, "
                "which no list of processes shows; else the database of the settings)"
            )
            parser.add_argument(f"--{side}", metavar="URL", help=meaning)
        meaning = "a difference younger than this is in flight (default: %(default)s)"
        number = whole_number_up_to(10**9)
        parser.add_argument(
            "--grace", type=number, default=GRACE_SECONDS, metavar="SECONDS", help=meaning
        )
        meaning = f"write the counts and the first {LISTED_MAX:,} differences of each kind there"
        parser.add_argument("--json", type=new_file, metavar="FILE", help=meaning)
        meaning = f"differences of each kind to print, up to {LISTED_MAX:,} (default: %(default)s)"
        number = whole_number_up_to(LISTED_MAX)
        parser.add_argument("--limit", type=number, default=PRINTED, metavar="N", help=meaning)

    def handle(self, *args: Any, **options: Any) -> None:
        started = time.monotonic()
        try:
            with Console(stderr=True).status("Comparing orders with payments …"):
                report = _reconcile(options)
        except SideUnreadable as error:
            raise CommandError(str(error), returncode=2) from error
        except KeyboardInterrupt:
            raise SystemExit(130) from None
        if options["json"]:
            written = _as_json(report) | {"seconds": round(time.monotonic() - started, 2)}
            options["json"].write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
        _show(report, options["limit"])
        if report.differences:
            raise SystemExit(1)


def _reconcile(options: dict[str, Any]) -> ReconciliationReport:
    return reconcile(
        orders=find_side(name="orders", url=options["orders"]),
        payments=find_side(name="payments", url=options["payments"]),
        grace=timedelta(seconds=options["grace"]),
    )


def _show(report: ReconciliationReport, limit: int) -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=COLUMNS)
    console.print(_counts(report))
    for kind, of_kind in report.kinds.items():
        if of_kind.first[:limit]:
            console.print(_first(kind, of_kind, limit))
    compared = f"{report.orders:,} orders and {report.payments:,} payments compared"
    seconds = round(report.grace.total_seconds())
    verdict = f"differences older than {seconds:,} s: {report.differences:,}."
    console.print(f"{compared}; {verdict}", highlight=False)


def _counts(report: ReconciliationReport) -> Table:
    table = Table("", "old", "in flight", title="Reconciliation", box=box.SIMPLE_HEAD)
    for column in table.columns[1:]:
        column.justify = "right"
    for kind, of_kind in report.kinds.items():
        colour = "red" if of_kind.old.count else "green"
        old = f"[{colour}]{of_kind.old.count:,}[/]"
        table.add_row(kind.value, old, f"{of_kind.in_flight.count:,}")
    return table


def _first(kind: DifferenceKind, of_kind: KindReport, limit: int) -> Table:
    headings = "order id", "order", "payment", "since", "for", ""
    table = Table(*headings, title=kind.value, title_justify="left", box=box.SIMPLE_HEAD)
    for difference in of_kind.first[:limit]:
        state = "in flight" if difference.in_flight else ""
        table.add_row(*(Text(cell) for cell in _cells(difference)), state)
    more = of_kind.old.count + of_kind.in_flight.count - limit
    if more > 0:
        table.caption = f"and {more:,} more"
    return table


def _cells(difference: Difference) -> tuple[str, ...]:
    sides = _terms(difference.order), _terms(difference.payment)
    since = difference.since.astimezone(UTC)
    return str(difference.order_id), *sides, f"{since:%Y-%m-%d %H:%M:%S}Z", _duration(difference)


def _duration(difference: Difference) -> str:
    return str(timedelta(seconds=max(0, int(difference.age.total_seconds()))))


def _terms(row: OrderRow | PaymentRow | None) -> str:
    if row is None:
        return "none"
    account = "no account" if row.account_id is None else f"account {row.account_id}"
    return f"{row.state}, {row.amount:,} {row.currency}, {account}"


def _as_json(report: ReconciliationReport) -> dict[str, Any]:
    return {
        "ok": not report.differences,
        "grace_seconds": round(report.grace.total_seconds()),
        "orders": report.orders,
        "payments": report.payments,
        "kinds": {kind.name.lower(): _kind_as_json(each) for kind, each in report.kinds.items()},
    }


def _kind_as_json(of_kind: KindReport) -> dict[str, Any]:
    return {
        "old": of_kind.old.count,
        "in_flight": of_kind.in_flight.count,
        "differences": [
            _difference_as_json(difference) for difference in of_kind.first[:LISTED_MAX]
        ],
    }


def _difference_as_json(difference: Difference) -> dict[str, Any]:
    order, payment = difference.order, difference.payment
    return {
        "order_id": str(difference.order_id),
        "order": order and _row_as_json(order),
        "payment": payment and _row_as_json(payment),
        "since": _time(difference.since),
        "age_seconds": round(difference.age.total_seconds(), 3),
        "in_flight": difference.in_flight,
    }


def _row_as_json(row: OrderRow | PaymentRow) -> dict[str, Any]:
    return {
        name: _time(value) if isinstance(value, datetime) else value
        for name, value in row._asdict().items()
        if not isinstance(value, UUID)
    }


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()
