"""The whole story of an order, from all apps, in time order; shown on its page in the admin."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.apps import apps
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model, Q
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from idempotency.models import Record
from idempotency.read_only_admin import moment
from orders.admin import OrderAdmin
from orders.models import Order
from orders.views import location

MAX_REQUESTS = 200


@dataclass(frozen=True)
class Event:
    """One line of the story."""

    at: datetime
    what: str
    details: str
    url: str = ""

    @property
    def when(self) -> str:
        return moment(self.at)


@admin.register(Order)
class OrderPage(OrderAdmin):
    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        context["story"] = story(kwargs["obj"])
        return super().render_change_form(request, context, *args, **kwargs)


def story(order: Order) -> list[Event]:
    """Tell what happened to an order: it is placed first, by whichever clock, then by time."""
    staff = list(_log(order).select_related("user").order_by("id"))
    requests = list(_requests(order, callers={order.customer_id, *(log.user_id for log in staff)}))
    placing = next((record for record in requests if _placed_it(record, order)), None)
    told = [
        *_changes(order),
        *_money(order),
        *_attempts(record for record in requests if record is not placing),
        *(Event(log.action_time, f"staff: {log.user}", log.get_change_message()) for log in staff),
    ]
    if len(requests) == MAX_REQUESTS:
        told.append(Event(requests[-1].created_at, "…", "later requests are not told here"))
    return [_placed(order, placing), *sorted(told, key=lambda event: event.at)]


def _log(order: Order) -> Any:
    of_orders = ContentType.objects.get_for_model(Order)
    return LogEntry.objects.filter(content_type=of_orders, object_id=str(order.pk))


def _requests(order: Order, *, callers: set[int]) -> Any:
    """Return the records of requests for the order, by its customer or the staff who dealt with it.

    (By caller: that is how the table's index begins.)
    """
    names_it = Q(path=reverse("pay-order", args=[order.pk])) | Q(headers__Location=location(order))
    records = Record.objects.filter(names_it, caller__in=callers)
    return records.defer("body").select_related("caller").order_by("id")[:MAX_REQUESTS]


def _placed_it(record: Record, order: Order) -> bool:
    return record.status == 201 and record.headers.get("Location") == location(order)


def _placed(order: Order, record: Record | None) -> Event:
    lines = ", ".join(str(line) for line in order.lines.order_by("id"))
    ordered = f"{lines}: {order.amount} {order.currency} in minor units"
    if record is None:
        return Event(order.created_at, "placed", f"{ordered}; no idempotency record is kept of it")
    return Event(order.created_at, "placed", f"{ordered}; {_under(record)}", _page(record))


def _changes(order: Order) -> Iterator[Event]:
    for change in order.history.order_by("id"):
        source, target = change.get_source_display(), change.get_target_display()
        details = f"{change.source} → {change.target}"
        yield Event(change.at, f"{source} → {target}".lower(), details, _page(change))


def _money(order: Order) -> Iterator[Event]:
    if not apps.is_installed("payments"):
        return
    from payments.models import Entry, Payment  # noqa: PLC0415 - not in every process

    for payment in Payment.objects.filter(order_id=order.pk):
        terms = f"{payment.amount} {payment.currency} from account {payment.account_id}"
        yield Event(payment.created_at, f"payment {payment.outcome}", terms, _page(payment))
    for entry in Entry.objects.filter(payment__order_id=order.pk).order_by("id"):
        left = "" if entry.balance_after is None else f", balance after {entry.balance_after}"
        details = f"{entry} on account {entry.account_id}{left}"
        yield Event(entry.created_at, "entry", details, _page(entry))


def _attempts(records: Iterable[Record]) -> Iterator[Event]:
    for record in records:
        what = f"answered {record.status}" if record.status else "answered; a tombstone now"
        details = f"{record.method} {record.path}; {_under(record)}"
        yield Event(record.created_at, what, details, _page(record))


def _under(record: Record) -> str:
    request = f", request {record.request_id}" if record.request_id else ""
    return f"by {record.caller}, key {record.key}{request}"


def _page(row: Model) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])
