"""The timeline of an order: its events from all apps in order of time, for customer and staff."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import Q
from django.utils.translation import gettext as _

from idempotency.models import Record
from orders import clock, responses
from orders.models import Order, PaymentRequest
from shop import events
from shop.click_events import clicked
from shop.clicks import shorten_key
from shop.events import OrderEvent
from shop.models import Basket, Click, ClickAction

REQUESTS_SHOWN_MAX = 200


def timeline_of(order: Order, *, for_staff: bool = False) -> list[OrderEvent]:
    """Return the events of an order: the click that placed it, its placing, then by time.

    :param for_staff: with links into the admin, who of the staff acted, and both legs of a movement
    """
    logs = list(_logs(order))
    users = [order.customer, *(log.user for log in logs)]
    names = {f"user:{user.pk}": user.get_username() for user in users}
    records = _records(order, scopes=names)
    placing = next((record for record in records if record.status == 201), None)
    by = names[placing.scope] if placing else ""
    clicks = _clicks(order)
    unsorted = [
        *(events.status_changed(change, for_staff) for change in order.history.order_by("id")),
        *_outbox_events(order),
        *_money_events(order, for_staff),
        *(
            events.request_recorded(record, names.get(record.scope, ""), for_staff)
            for record in _without_clicks(records, clicks)
            if record is not placing
        ),
        *map(clicked, clicks),
        *(events.staff_acted(log, for_staff) for log in logs),
        *_omission(records[-1].created_at if len(records) == REQUESTS_SHOWN_MAX else None),
        *_omission(clicks[-1].received_at if len(clicks) == REQUESTS_SHOWN_MAX else None),
    ]
    return _in_order(unsorted, clicks, events.placed(order, placing, by, for_staff))


def _in_order(
    unsorted: Sequence[OrderEvent], clicks: Sequence[Click], placed: OrderEvent
) -> list[OrderEvent]:
    """Sort events by time, behind the first click to place and the placing: clocks may differ."""
    by_time = sorted(unsorted, key=lambda event: event.at)
    placing = [click.received_at for click in clicks if click.action == ClickAction.PLACE][:1]
    opening = [event for event in by_time if event.at in placing]
    rest = [event for event in by_time if event not in opening]
    return [*opening, placed, *rest]


def _omission(last: Any) -> Iterator[OrderEvent]:
    """Yield, at the time of the last row read, the event that marks later rows as left out."""
    if last is not None:
        yield OrderEvent(last, "…", _("later requests are not shown"))


def _logs(order: Order) -> Any:
    of_orders = ContentType.objects.get_for_model(Order)
    logs = LogEntry.objects.filter(content_type=of_orders, object_id=str(order.pk))
    return logs.select_related("user").order_by("id")


def _records(order: Order, *, scopes: Collection[str]) -> list[Record]:
    """Return the idempotency records about the order, of its customer and of staff."""
    records = Record.objects.filter(subject=responses.subject(order.pk), scope__in=[*scopes, ""])
    return list(records.defer("body").order_by("id")[:REQUESTS_SHOWN_MAX])


def _clicks(order: Order) -> list[Click]:
    """Return the clicks of an order's pages; with those to place it whose process was killed."""
    of_order = Q(order_id=order.pk)
    if basket := Basket.objects.filter(order=order).first():
        key = shorten_key(str(basket.pk))
        placing = ClickAction.PLACE
        of_order |= Q(customer=order.customer_id, order_id=None, action=placing, key=key)
    clicks = Click.objects.filter(of_order).annotate(**clock.READ_AT)
    return list(clicks.order_by("id")[:REQUESTS_SHOWN_MAX])


def _without_clicks(records: Sequence[Record], clicks: Sequence[Click]) -> Iterator[Record]:
    """Yield the records whose request is not among the clicks: each is shown once."""
    shown = {(click.request_id, click.key) for click in clicks}
    for record in records:
        if (record.request_id, shorten_key(record.key)) not in shown:
            yield record


def _money_events(order: Order, for_staff: bool) -> Iterator[OrderEvent]:
    if not apps.is_installed("payments"):
        return
    from payments.models import Entry, Payment  # noqa: PLC0415 - not in every process

    for payment in Payment.objects.filter(order_id=order.pk):
        yield events.payment_made(payment, for_staff)
    legs = Entry.objects.filter(payment__order_id=order.pk).order_by("id")
    for entry in legs if for_staff else legs.filter(account__owner=order.customer_id):
        yield events.entry_inserted(entry, for_staff)


def _outbox_events(order: Order) -> Iterator[OrderEvent]:
    request = PaymentRequest.objects.filter(pk=order.pk).defer("body", "response").first()
    if request is not None:
        yield from events.payment_requested(request)
