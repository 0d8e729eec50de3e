import json
import time
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from operations.reconciliation import (
    KEPT,
    Difference,
    Found,
    Kind,
    Order,
    Payment,
    Report,
    SideUnreadable,
    find_side,
    reconcile,
)
from web.arguments import new_file

WIDE = 164
GRACE = 60
LIMIT = 20
STATUSES = {0: "submitted", 1: "paying", 2: "paid", 3: "failed"}


def whole_number(most: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and int(text) <= most):
            raise ArgumentTypeError(f"{text!r} is not a whole number up to {most:,}")
        return int(text)

    return number


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
        number = whole_number(10**9)
        parser.add_argument("--grace", type=number, default=GRACE, metavar="SECONDS", help=meaning)
        meaning = f"write the counts and the first {KEPT:,} differences of each kind there"
        parser.add_argument("--json", type=new_file, metavar="FILE", help=meaning)
        meaning = f"differences of each kind to print, up to {KEPT:,} (default: %(default)s)"
        number = whole_number(KEPT)
        parser.add_argument("--limit", type=number, default=LIMIT, metavar="N", help=meaning)

    def handle(self, *args: Any, **options: Any) -> None:
        started = time.monotonic()
        try:
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


def _reconcile(options: dict[str, Any]) -> Report:
    return reconcile(
        orders=find_side(name="orders", url=options["orders"]),
        payments=find_side(name="payments", url=options["payments"]),
        grace=timedelta(seconds=options["grace"]),
    )


def _show(report: Report, limit: int) -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDE)
    console.print(_counts(report))
    for kind, found in report.found.items():
        if found.first[:limit]:
            console.print(_first(kind, found, limit))
    compared = f"{report.orders:,} orders and {report.payments:,} payments compared"
    seconds = round(report.grace.total_seconds())
    verdict = f"differences older than {seconds:,} s: {report.differences:,}."
    console.print(f"{compared}; {verdict}", highlight=False)


def _counts(report: Report) -> Table:
    table = Table("", "old", "in flight", title="Reconciliation", box=box.SIMPLE_HEAD)
    for column in table.columns[1:]:
        column.justify = "right"
    for kind, found in report.found.items():
        colour = "red" if found.old.count else "green"
        old = f"[{colour}]{found.old.count:,}[/]"
        table.add_row(kind.value, old, f"{found.in_flight.count:,}")
    return table


def _first(kind: Kind, found: Found, limit: int) -> Table:
    headings = "order id", "order", "payment", "since", "for", ""
    table = Table(*headings, title=kind.value, title_justify="left", box=box.SIMPLE_HEAD)
    for difference in found.first[:limit]:
        state = "in flight" if difference.in_flight else ""
        table.add_row(*(Text(cell) for cell in _cells(difference)), state)
    more = found.old.count + found.in_flight.count - limit
    if more > 0:
        table.caption = f"and {more:,} more"
    return table


def _cells(difference: Difference) -> tuple[str, ...]:
    sides = _order_terms(difference.order), _payment_terms(difference.payment)
    since = difference.since.astimezone(UTC)
    return str(difference.order_id), *sides, f"{since:%Y-%m-%d %H:%M:%S}Z", _duration(difference)


def _duration(difference: Difference) -> str:
    return str(timedelta(seconds=max(0, int(difference.age.total_seconds()))))


def _order_terms(order: Order | None) -> str:
    return _terms(STATUSES.get(order.status, str(order.status)), order) if order else "none"


def _payment_terms(payment: Payment | None) -> str:
    return _terms(payment.outcome or "undecided", payment) if payment else "none"


def _terms(state: str, row: Order | Payment) -> str:
    account = "no account" if row.account_id is None else f"account {row.account_id}"
    return f"{state}, {row.amount:,} {row.currency}, {account}"


def _as_json(report: Report) -> dict[str, Any]:
    return {
        "ok": not report.differences,
        "grace_seconds": round(report.grace.total_seconds()),
        "orders": report.orders,
        "payments": report.payments,
        "kinds": {kind.name.lower(): _found_as_json(f) for kind, f in report.found.items()},
    }


def _found_as_json(found: Found) -> dict[str, Any]:
    return {
        "old": found.old.count,
        "in_flight": found.in_flight.count,
        "differences": [_difference_as_json(difference) for difference in found.first[:KEPT]],
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


def _row_as_json(row: Order | Payment) -> dict[str, Any]:
    return {
        name: _time(value) if isinstance(value, datetime) else value
        for name, value in row._asdict().items()
        if not isinstance(value, UUID)
    }


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()
