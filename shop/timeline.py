"""The whole timeline of an order, from all apps, in time order: for its customer, and for staff."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model, Q
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from idempotency.models import Record
from orders import responses
from orders.models import Order, PaymentRequest
from shop.clicks import shown
from shop.models import Basket, Click
from shop.steps import CONDITIONAL, SAID, WAITED
from web.read_only_admin import moment, page_of

MAX_REQUESTS = 200

GIVEN_UP = timedelta(minutes=1)  # longer than any request may take

# What a click was told that came with another key than the one that decided.
DECIDED: dict[str, Any] = {
    "order-already-paid": gettext_lazy("told that it was paid already"),
    "order-failed": gettext_lazy("told that it had failed already"),
}
# Why a click was told no, by what it is called in the API, or on the page.
REASONS: dict[str, Any] = {
    "idempotency-key-in-use": gettext_lazy("the first click was still under way"),
    "idempotency-key-invalid": gettext_lazy("the page was too old, or its key not the customer's"),
    "idempotency-key-reused": gettext_lazy("its key had been used for something else"),
    "idempotency-key-expired": gettext_lazy("its key was used long ago"),
    "payment-mismatch": gettext_lazy("the payment was made on other terms"),
    "account": gettext_lazy("no such account of the customer's"),
    "basket-changed": gettext_lazy("the basket was another one, or an order, by then"),
}


@dataclass(frozen=True)
class Step:
    """A statement of a click's, in plain words."""

    text: str
    sql: str
    rows: int | None  # how many it met, where that decided
    ms: float


@dataclass(frozen=True)
class Event:
    """One line of the timeline; `mood` colours its tag as the pages' style sheet has it."""

    at: datetime
    what: str
    details: str
    url: str = ""
    tag: str = ""
    mood: str = ""
    steps: Sequence[Step] = field(default=())

    @property
    def when(self) -> str:
        return moment(self.at)

    @property
    def milliseconds(self) -> str:
        return f"{self.at.microsecond // 1000:03}"


def timeline_of(order: Order, *, for_staff: bool = False) -> list[Event]:
    """Tell what happened to an order: first it is placed, by whichever clock, then by time.

    :param for_staff: with links into the admin, what staff did, and both legs of a movement
    """
    staff = list(_log(order).select_related("user").order_by("id"))
    callers = {order.customer_id, *(log.user_id for log in staff)}
    requests = list(_requests(order, callers=callers))
    placing = next((record for record in requests if record.status == 201), None)
    clicks = list(_clicks(order))
    clicked = {(click.request_id, click.key) for click in clicks}
    told = [
        *_changes(order, for_staff),
        *_outbox(order),
        *_money(order, for_staff),
        *_attempts(
            (
                each
                for each in requests
                if each is not placing and (each.request_id, shown(each.key)) not in clicked
            ),
            for_staff,
        ),
        *map(_click, clicks),
        *(_by_staff(log, for_staff) for log in staff),
    ]
    for of_one_kind in (requests, clicks):
        if len(of_one_kind) == MAX_REQUESTS:
            last = of_one_kind[-1]
            at = last.arrived_at if isinstance(last, Click) else last.created_at
            told.append(Event(at, "…", _("later requests are not told here")))
    told.sort(key=lambda event: event.at)
    led_to_it = [click.arrived_at for click in clicks if click.wanted == "order"][:1]
    opening = [event for event in told if event.at in led_to_it]
    rest = [event for event in told if event not in opening]
    return [*opening, _placed(order, placing, for_staff), *rest]


def _log(order: Order) -> Any:
    of_orders = ContentType.objects.get_for_model(Order)
    return LogEntry.objects.filter(content_type=of_orders, object_id=str(order.pk))


def _requests(order: Order, *, callers: set[int]) -> Any:
    """Return the records of requests about the order, by its customer or by staff."""
    records = Record.objects.filter(subject=responses.subject(order.pk), caller__in=callers)
    return records.defer("body").select_related("caller").order_by("id")[:MAX_REQUESTS]


def _clicks(order: Order) -> Any:
    """Return the clicks of an order's pages; with those to place it whose process was killed."""
    mine = Q(order_id=order.pk)
    if basket := Basket.objects.filter(order=order).first():
        key = shown(str(basket.pk))
        mine |= Q(customer=order.customer_id, order_id=None, wanted="order", key=key)
    return Click.objects.filter(mine).order_by("id")[:MAX_REQUESTS]


def _placed(order: Order, record: Record | None, for_staff: bool) -> Event:
    lines = ", ".join(str(line) for line in order.lines.order_by("id"))
    ordered = _("%(lines)s: %(amount)d %(currency)s in minor units") % {
        "lines": lines,
        "amount": order.amount,
        "currency": order.currency,
    }
    known = _under(record, for_staff) if record else _("no idempotency record is kept of it")
    url = _page(record, for_staff) if record else ""
    return Event(order.created_at, _("placed"), f"{ordered}; {known}", url)


def _changes(order: Order, for_staff: bool) -> Iterator[Event]:
    for change in order.history.order_by("id"):
        source, target = change.get_source_display(), change.get_target_display()
        what = f"{source} → {target}".lower()
        yield Event(change.at, what, f"{change.source} → {change.target}", _page(change, for_staff))


def _money(order: Order, for_staff: bool) -> Iterator[Event]:
    if not apps.is_installed("payments"):
        return
    from payments.models import Entry, Payment  # noqa: PLC0415 - not in every process

    for payment in Payment.objects.filter(order_id=order.pk):
        what = _("payment succeeded") if payment.succeeded else _("payment declined")
        terms = _("%(amount)d %(currency)s from account %(account)d") % {
            "amount": payment.amount,
            "currency": payment.currency,
            "account": payment.account_id,
        }
        yield Event(payment.created_at, what, terms, _page(payment, for_staff))
    legs = Entry.objects.filter(payment__order_id=order.pk).order_by("id")
    for entry in legs if for_staff else legs.filter(account__owner=order.customer_id):
        details = _("%(entry)s on account %(account)d") % {
            "entry": entry,
            "account": entry.account_id,
        }
        if entry.balance_after is not None:
            left = _("balance after %(balance)d") % {"balance": entry.balance_after}
            details = f"{details}, {left}"
        yield Event(entry.created_at, _("entry"), details, _page(entry, for_staff))


def _outbox(order: Order) -> Iterator[Event]:
    """Tell of the payment system behind a network: asked, how often, and what it answered."""
    request = PaymentRequest.objects.filter(pk=order.pk).defer("body", "response").first()
    if request is None:
        return
    asked = ngettext("asked once", "asked %(count)d times", request.attempts) % {
        "count": request.attempts
    }
    what = _("the payment is to be asked for over the network")
    if request.settled_at:
        yield Event(request.created_at, what, "")
        yield Event(request.settled_at, _("the payment system has answered"), asked)
    elif request.dead_lettered:
        refused = _("refused, and set aside for somebody to look at: %(last_error)s")
        told = refused % {"last_error": request.last_error}
        yield Event(request.created_at, what, f"{asked}; {told}")
    else:
        details = f"{asked}; {request.last_error}" if request.last_error else asked
        yield Event(request.created_at, what, details if request.attempts else "")


def _attempts(records: Iterable[Record], for_staff: bool) -> Iterator[Event]:
    for record in records:
        what = (
            _("answered %(status)d") % {"status": record.status}
            if record.status
            else _("answered; a tombstone now")
        )
        details = f"{record.method} {record.path}; {_under(record, for_staff)}"
        yield Event(record.created_at, what, details, _page(record, for_staff))


def _under(record: Record, for_staff: bool) -> str:
    """Say under which key a request came, and to staff whose it was."""
    key = _("key %(key)s") % {"key": record.key if for_staff else shown(record.key)}
    if for_staff:
        key = _("by %(caller)s, %(key)s") % {"caller": record.caller, "key": key}
    request = _("request %(id)s") % {"id": record.request_id}
    return f"{key}, {request}" if record.request_id else key


def _by_staff(log: LogEntry, for_staff: bool) -> Event:
    what = _("staff: %(user)s") % {"user": log.user} if for_staff else _("staff")
    return Event(log.action_time, what, _(log.get_change_message()))


def _click(click: Click) -> Event:
    what = _("Click on “Pay”") if click.wanted == "pay" else _("Click on “Place the order”")
    tag, mood = _made_of_it(click)
    details = _("key %(key)s, request %(id)s") % {"key": click.key, "id": click.request_id}
    if click.answered_at is None:
        nothing = _("its process may have been killed; what it had committed is kept")
        details = f"{details}; {nothing}"
    steps = [_step(*step) for step in click.steps if step[0] in SAID]
    return Event(click.arrived_at, what, details, tag=tag, mood=mood, steps=steps)


def _made_of_it(click: Click) -> tuple[str, str]:
    """Return in a word what the server made of a click, and its colour."""
    match click.told:
        case Click.Told.EXECUTED:
            return _("executed"), "good"
        case Click.Told.REPLAYED:
            return _replayed(sum(ms for name, _rows, ms in click.steps if name == WAITED))
        case Click.Told.REFUSED if click.reason in DECIDED:
            return DECIDED[click.reason], "calm"
        case Click.Told.REFUSED:
            reason = REASONS.get(click.reason, click.reason)
            return _("refused: %(reason)s") % {"reason": reason}, "bad"
    if timezone.now() - click.arrived_at > GIVEN_UP:
        return _("never answered"), "bad"
    return _("no answer yet"), "busy"


def _replayed(waited: float) -> tuple[str, str]:
    if not waited:
        return _("told the first answer again"), "calm"
    text = _("waited %(ms)d ms, then told the first answer")
    return text % {"ms": max(1, waited)}, "busy"


def _step(name: str, rows: int, ms: float) -> Step:
    text, sql = SAID[name]
    return Step(str(text), sql, rows if name in CONDITIONAL else None, ms)


def _page(row: Model, for_staff: bool) -> str:
    return page_of(row) if for_staff else ""
