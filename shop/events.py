"""The events of an order's timeline: one function for each kind of row that becomes one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.contrib.admin.models import LogEntry
from django.db.models import Model
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from idempotency.models import Record
from orders.models import Order, PaymentRequest
from shop.clicks import shorten_key
from web.read_only_admin import moment, page_of


@dataclass(frozen=True)
class StatementShown:
    """A statement of a click, described."""

    text: str
    sql: str
    rows: int | None  # how many it matched, if that decided anything
    ms: float


@dataclass(frozen=True)
class OrderEvent:
    """One line of the timeline; `mood` is the class of its tag in the style sheet."""

    at: datetime
    what: str
    details: str
    url: str = ""
    tag: str = ""
    mood: str = ""
    statements: Sequence[StatementShown] = field(default=())

    @property
    def when(self) -> str:
        return moment(self.at)

    @property
    def milliseconds(self) -> str:
        return f"{self.at.microsecond // 1000:03}"


def placed(order: Order, record: Record | None, by: str, for_staff: bool) -> OrderEvent:
    """Return the event of placing an order; `record` is that of the request, if there is one."""
    lines = ", ".join(str(line) for line in order.lines.order_by("id"))
    ordered = _("%(lines)s: %(amount)d %(currency)s in minor units") % {
        "lines": lines,
        "amount": order.amount,
        "currency": order.currency,
    }
    request = _describe_request(record, by, for_staff) if record else _("no idempotency record")
    url = _admin_url(record, for_staff) if record else ""
    return OrderEvent(order.created_at, _("placed"), f"{ordered}; {request}", url)


def status_changed(change: Any, for_staff: bool) -> OrderEvent:
    """Return the event of a transition."""
    source, target = change.get_source_display(), change.get_target_display()
    what = f"{source} → {target}".lower()
    details = f"{change.source} → {change.target}"
    return OrderEvent(change.at, what, details, _admin_url(change, for_staff))


def payment_made(payment: Any, for_staff: bool) -> OrderEvent:
    """Return the event of a payment, succeeded or declined."""
    what = _("payment succeeded") if payment.succeeded else _("payment declined")
    details = _("%(amount)d %(currency)s from account %(account)d") % {
        "amount": payment.amount,
        "currency": payment.currency,
        "account": payment.account_id,
    }
    return OrderEvent(payment.created_at, what, details, _admin_url(payment, for_staff))


def entry_inserted(entry: Any, for_staff: bool) -> OrderEvent:
    """Return the event of a ledger entry."""
    details = _("%(entry)s on account %(account)d") % {
        "entry": entry,
        "account": entry.account_id,
    }
    if entry.balance_after is not None:
        balance = _("balance after %(balance)d") % {"balance": entry.balance_after}
        details = f"{details}, {balance}"
    return OrderEvent(entry.created_at, _("entry"), details, _admin_url(entry, for_staff))


def payment_requested(request: PaymentRequest) -> Iterator[OrderEvent]:
    """Yield the events of an outbox row: written, and settled if it is."""
    attempts = ngettext("sent once", "sent %(count)d times", request.attempts) % {
        "count": request.attempts
    }
    what = _("payment request written to the outbox")
    if request.settled_at:
        yield OrderEvent(request.created_at, what, "")
        yield OrderEvent(request.settled_at, _("the payment system has responded"), attempts)
    elif request.dead_lettered:
        refused = _("refused and dead-lettered, for an operator to check: %(last_error)s")
        refused %= {"last_error": request.last_error}
        yield OrderEvent(request.created_at, what, f"{attempts}; {refused}")
    else:
        details = f"{attempts}; {request.last_error}" if request.last_error else attempts
        yield OrderEvent(request.created_at, what, details if request.attempts else "")


def request_recorded(record: Record, by: str, for_staff: bool) -> OrderEvent:
    """Return the event of a request with an idempotency record and no recorded click."""
    what = (
        _("response %(status)d") % {"status": record.status}
        if record.status
        else _("response expired; a tombstone now")
    )
    details = f"{record.method} {record.path}; {_describe_request(record, by, for_staff)}"
    return OrderEvent(record.created_at, what, details, _admin_url(record, for_staff))


def staff_acted(log: LogEntry, for_staff: bool) -> OrderEvent:
    """Return the event of an action in the admin; only staff see whose it was."""
    what = _("staff: %(user)s") % {"user": log.user} if for_staff else _("staff")
    return OrderEvent(log.action_time, what, _(log.get_change_message()))


def _describe_request(record: Record, by: str, for_staff: bool) -> str:
    """Return the key and the id of a request; for staff with its user and the whole key."""
    key = _("key %(key)s") % {"key": record.key if for_staff else shorten_key(record.key)}
    if for_staff:
        key = _("by %(caller)s, %(key)s") % {"caller": by, "key": key}
    request = _("request %(id)s") % {"id": record.request_id}
    return f"{key}, {request}" if record.request_id else key


def _admin_url(row: Model, for_staff: bool) -> str:
    return page_of(row) if for_staff else ""
