"""A restore's report as tables for people and as JSON for programs."""

from datetime import UTC, datetime
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from operations.reconciliation.rows import OUTCOME_NAMES, STATUS_NAMES
from operations.restoring.archive import Execution
from operations.restoring.comparison import Finding, OrderRow, PaymentRow, RestoreReport

COLUMNS = 164  # of the tables, where there is no terminal
LOST_KEYS = "acknowledged requests whose key is forgotten: --apply"
DAMAGED = "damaged lines of the log: for a person"


def show(report: RestoreReport, *, limit: int) -> None:
    """Print the counts, and the first of each kind."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=COLUMNS)
    console.print(_counts(report))
    if report.lost_keys:
        console.print(_lost_keys(report.lost_keys, limit))
    for kind, findings in report.kinds.items():
        if findings:
            console.print(_first(kind.value, findings, limit))
    read = f"{report.executions:,} first executions in the log"
    verdict = f"dealt with: {report.dealt_with:,}; left to do: {report.left:,}."
    console.print(f"{read}; {verdict}", highlight=False)


def as_json(report: RestoreReport) -> dict[str, Any]:
    """Return all of a report, for a file."""
    return {
        "ok": not report.left,
        "executions": report.executions,
        "damaged": report.damaged,
        "dealt_with": report.dealt_with,
        "lost_keys": [_execution_as_json(each) for each in report.lost_keys],
        "kinds": {
            kind.name.lower(): [_finding_as_json(each) for each in findings]
            for kind, findings in report.kinds.items()
        },
    }


def _counts(report: RestoreReport) -> Table:
    table = Table("", "left", title="After the restore", box=box.SIMPLE_HEAD)
    table.columns[1].justify = "right"
    counts = {LOST_KEYS: len(report.lost_keys), DAMAGED: report.damaged}
    counts |= {kind.value: len(findings) for kind, findings in report.kinds.items()}
    for text, count in counts.items():
        table.add_row(text, f"[{'red' if count else 'green'}]{count:,}[/]")
    return table


def _lost_keys(lost: list[Execution], limit: int) -> Table:
    table = Table(
        *("at", "user", "stored", "path"),
        title=LOST_KEYS,
        title_justify="left",
        box=box.SIMPLE_HEAD,
    )
    for each in lost[:limit]:
        cells = (_time(each.at), str(each.user), str(each.status), each.path)
        table.add_row(*map(Text, cells))
    return _captioned(table, len(lost) - limit)


def _first(title: str, findings: list[Finding], limit: int) -> Table:
    headings = "order id", "order", "payment", "customer", "the client got"
    table = Table(*headings, title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for finding in findings[:limit]:
        table.add_row(*map(Text, _cells(finding)))
    return _captioned(table, len(findings) - limit)


def _captioned(table: Table, more: int) -> Table:
    if more > 0:
        table.caption = f"and {more:,} more"
    return table


def _cells(finding: Finding) -> tuple[str, ...]:
    order, payment, execution = finding.order, finding.payment, finding.execution
    placed = f"{STATUS_NAMES.get(order.status)}, {_terms(order)}" if order else "none"
    paid = "none"
    if payment:
        outcome = OUTCOME_NAMES.get(payment.outcome)
        paid = f"{outcome}, {_terms(payment)}, {_time(payment.created_at)}"
    got = f"{execution.status}, {_time(execution.at)}" if execution else "not in the log"
    return str(finding.order_id), placed, paid, _customer(finding), got


def _customer(finding: Finding) -> str:
    for row in (finding.order, finding.payment):
        if row and row.customer:
            return row.customer
    return f"user {finding.execution.user}" if finding.execution else ""


def _terms(row: OrderRow | PaymentRow) -> str:
    account = "" if row.account_id is None else f", account {row.account_id}"
    return f"{row.amount:,} {row.currency}{account}"


def _time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"


def _finding_as_json(finding: Finding) -> dict[str, Any]:
    return {
        "order_id": str(finding.order_id),
        "customer": _customer(finding),
        "order": _row_as_json(finding.order),
        "payment": _row_as_json(finding.payment),
        "response": finding.execution and _execution_as_json(finding.execution),
    }


def _row_as_json(row: OrderRow | PaymentRow | None) -> dict[str, Any] | None:
    if row is None:
        return None
    fields = ("status", "outcome", "amount", "currency", "account_id")
    return {name: getattr(row, name) for name in fields if hasattr(row, name)}


def _execution_as_json(execution: Execution) -> dict[str, Any]:
    return {
        "order_id": execution.order_id and str(execution.order_id),
        "status": execution.status,
        "at": execution.at.astimezone(UTC).isoformat(),
        "user": execution.user,
        "path": execution.path,
    }
