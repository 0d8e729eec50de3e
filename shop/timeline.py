"""The timeline of an order: its events from all apps in order of time, for customer and staff."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby

from django.apps import apps
from django.utils.translation import gettext as _

from idempotency import key_digest
from idempotency.journal.models import Outcome
from orders.models import Order, PaymentRequest
from orders.requests import OrderRequests, RequestsOf
from shop import events
from shop.drawing import LABELS
from shop.events import OrderEvent


def timeline_of(
    order: Order, *, for_staff: bool = False, about: RequestsOf | None = None
) -> list[OrderEvent]:
    """Return the events of an order by time, its placing first; equal requests are folded.

    :param for_staff: with links into the admin, who of the staff acted, and both legs of a movement
    :param about: what reads the requests, if there is one already
    """
    about = about or RequestsOf(order)
    names = about.names
    placing = about.placing_record
    events_of_order = [
        *(events.status_changed(change, for_staff) for change in order.history.order_by("id")),
        *_outbox_events(order),
        *_money_events(order, for_staff),
        *_request_events(about, about.to_pay, _("Request to pay"), for_staff),
        *(events.staff_acted(log, for_staff) for log in about.staff_log),
    ]
    opening = [
        events.placed(order, placing, names.get(placing.scope, "") if placing else "", for_staff),
        *(
            replace(event, is_placing=True)
            for event in _request_events(
                about, about.to_place, _("Request to place the order"), for_staff
            )
            if event.statements or event.tag != LABELS[Outcome.EXECUTED]  # else it is `placed`
        ),
    ]
    by_time = sorted(events_of_order, key=lambda event: event.at)
    return [*opening, *by_time]


def _request_events(
    about: RequestsOf, requests: OrderRequests, what: str, for_staff: bool
) -> Iterator[OrderEvent]:
    """Yield the events of requests; of equal ones in a row the first, with how many follow it."""
    records = {(key_digest(each.key), each.request_id): each for each in about.records if each.key}
    for _outcome, equal in groupby(requests.shown, key=lambda each: each.outcome):
        first, *others = equal
        record = records.get((first.key_digest, first.request_id)) if for_staff else None
        by = about.names.get(record.scope, "") if record else ""
        yield replace(events.requested(first, record, what, by), more=len(others))
    if requests.shown and requests.more > 0:
        last = requests.shown[-1].at
        more = _("%(count)d later requests are not shown") % {"count": requests.more}
        yield OrderEvent(last, "…", more)


def _money_events(order: Order, for_staff: bool) -> Iterator[OrderEvent]:
    if not apps.is_installed("payments"):
        return
    from payments.models import Entry, Payment  # noqa: PLC0415 - not in every process

    for payment in Payment.objects.filter(order_id=order.pk):
        yield events.payment_made(payment, for_staff)
    legs = Entry.objects.filter(payment__order_id=order.pk).select_related("account")
    legs = legs.order_by("id")
    for entry in legs if for_staff else legs.filter(account__owner=order.customer_id):
        yield events.entry_inserted(entry, for_staff)


def _outbox_events(order: Order) -> Iterator[OrderEvent]:
    request = PaymentRequest.objects.filter(pk=order.pk).defer("body", "response").first()
    if request is not None:
        yield from events.payment_requested(request)
