"""The events of an order's timeline: one function for each kind of row that becomes one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.contrib.admin.models import LogEntry
from django.db.models import Model
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from idempotency.journal.models import Outcome
from idempotency.models import Record
from orders.models import Order, PaymentRequest
from orders.requests import OrderRequest
from shop.drawing import LABELS
from shop.statements import CONDITIONAL, DESCRIPTIONS
from web.money import money
from web.read_only_admin import moment, page_of

KEY_CHARACTERS_SHOWN = 12
CALLS = {
    "charge": gettext_lazy("relay: charge"),
    "inquire": gettext_lazy("relay: inquiry"),
    "decline": gettext_lazy("relay: decline"),
    "settle": gettext_lazy("relay: settle"),
}
OUTCOMES = {
    "succeeded": gettext_lazy("paid"),
    "declined": gettext_lazy("declined"),
    "unknown": gettext_lazy("outcome unknown: %(error)s"),
    "refused": gettext_lazy("refused and dead-lettered, for an operator to check: %(error)s"),
}
MOODS = {Outcome.EXECUTED: "good", Outcome.REUSED: "bad"}


@dataclass(frozen=True)
class StatementShown:
    """A statement of a request, described."""

    text: str
    sql: str
    rows: int | None  # how many it matched, if that decided anything
    ms: float


@dataclass(frozen=True)
class OrderEvent:
    """One line of the timeline; `mood` is the class of its tag in the style sheet.

    :ivar more: how many equal ones follow
    """

    at: datetime
    what: str
    details: str
    url: str = ""
    tag: str = ""
    mood: str = ""
    statements: Sequence[StatementShown] = field(default=())
    is_placing: bool = False
    more: int = 0

    @property
    def when(self) -> str:
        return moment(self.at)

    @property
    def milliseconds(self) -> str:
        return f"{self.at.microsecond // 1000:03}"


def placed(order: Order, record: Record | None, by: str, for_staff: bool) -> OrderEvent:
    """Return the event of placing an order; `record` is that of the request, if there is one."""
    lines = ", ".join(str(line) for line in order.lines.order_by("id"))
    ordered = f"{lines}: {money(order.amount, order.currency)}"
    request = _describe_request(record, by, for_staff) if record else _("no idempotency record")
    url = _admin_url(record, for_staff) if record else ""
    return OrderEvent(order.created_at, _("placed"), f"{ordered}; {request}", url, is_placing=True)


def status_changed(change: Any, for_staff: bool) -> OrderEvent:
    """Return the event of a transition."""
    source, target = change.get_source_display(), change.get_target_display()
    what = f"{source} → {target}".lower()
    details = f"{change.source} → {change.target}" if for_staff else ""
    return OrderEvent(change.at, what, details, _admin_url(change, for_staff))


def payment_made(payment: Any, for_staff: bool) -> OrderEvent:
    """Return the event of a payment, succeeded or declined."""
    what = _("payment succeeded") if payment.succeeded else _("payment declined")
    amount = money(payment.amount, payment.currency)
    details = _("%(amount)s, before any account was charged") % {"amount": amount}
    if payment.account_id is not None:
        details = _("%(amount)s from account %(account)d") % {
            "amount": amount,
            "account": payment.account_id,
        }
    return OrderEvent(payment.created_at, what, details, _admin_url(payment, for_staff))


def entry_inserted(entry: Any, for_staff: bool) -> OrderEvent:
    """Return the event of a ledger entry."""
    currency = entry.account.currency
    details = _("%(amount)s on account %(account)d") % {
        "amount": money(entry.amount, currency),
        "account": entry.account_id,
    }
    if entry.balance_after is not None:
        after = money(entry.balance_after, currency)
        balance = _("balance after %(balance)s") % {"balance": after}
        details = f"{details}, {balance}"
    return OrderEvent(entry.created_at, _("entry"), details, _admin_url(entry, for_staff))


def payment_requested(request: PaymentRequest) -> Iterator[OrderEvent]:
    """Yield the events of an outbox row: written, and each call that a relay has made."""
    attempts = ngettext("sent once", "sent %(count)d times", request.attempts) % {
        "count": request.attempts
    }
    what = _("payment request written to the outbox")
    yield OrderEvent(request.created_at, what, attempts if request.attempts else "")
    for call in request.calls:
        details = OUTCOMES[call["outcome"]] % {"error": call["error"]}
        yield OrderEvent(datetime.fromisoformat(call["at"]), str(CALLS[call["call"]]), details)
    if request.settled_at and not request.calls:  # before calls were recorded
        yield OrderEvent(request.settled_at, _("the payment system has responded"), "")


def requested(request: OrderRequest, record: Record | None, what: str, by: str) -> OrderEvent:
    """Return the event of a request; `record` is the one that it made, for staff alone."""
    details = _("key digest %(digest)s, request %(id)s") % {
        "digest": request.key_digest,
        "id": request.request_id,
    }
    if record:
        details = _describe_request(record, by, for_staff=True)
    if request.waited_milliseconds:
        waited = _("waited %(ms)d ms") % {"ms": max(1, request.waited_milliseconds)}
        details = f"{waited}; {details}"
    statements = [_describe(*each) for each in request.steps if each[0] in DESCRIPTIONS]
    return OrderEvent(
        request.at,
        what,
        details,
        _admin_url(record, for_staff=True) if record else "",
        tag=str(LABELS[request.outcome]),
        mood=MOODS.get(request.outcome, "calm"),
        statements=statements,
    )


def _describe(name: str, rows: int, ms: float) -> StatementShown:
    text, sql = DESCRIPTIONS[name]
    return StatementShown(str(text), sql, rows if name in CONDITIONAL else None, ms)


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


def shorten_key(key: str) -> str:
    """Return as much of a key as may be shown: enough to recognise it, too little to send it."""
    return key if len(key) <= KEY_CHARACTERS_SHOWN else f"{key[:KEY_CHARACTERS_SHOWN]}…"


def _admin_url(row: Model, for_staff: bool) -> str:
    return page_of(row) if for_staff else ""
