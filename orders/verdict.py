"""What became of an order's money, in sentences that an operator can send to a customer."""

from dataclasses import dataclass
from datetime import timedelta

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from orders import search, services
from orders.models import Order, PaymentRequest
from orders.requests import OrderRequests, RequestsOf
from payments import client
from web import uuid7
from web.money import money

NEARBY = timedelta(minutes=10)
OTHERS_MAX = 10


@dataclass(frozen=True)
class Verdict:
    """The sentences, and the other orders that one of them is about: newest first."""

    text: str
    others: list[Order]


def verdict_on(order: Order) -> Verdict:
    """Return whether an order was charged, by which requests, and whether it has a lookalike."""
    others = _lookalikes(order)
    sentences = [
        _charge(order),
        _giving_up(order),
        _requests(RequestsOf(order).to_pay),
        _others(order, others),
    ]
    return Verdict(" ".join(filter(None, sentences)), others)


def _charge(order: Order) -> str:
    payment = services.payments_of([order.pk]).get(order.pk)
    amount = money(order.amount, order.currency)
    if payment is None:
        if order.status == Order.Status.PAYING:
            return _("Not charged so far: the payment of %(amount)s is pending.") % {
                "amount": amount
            }
        return _("Not charged: nobody has paid it.")
    facts = {"amount": amount, "at": f"{payment.created_at:%Y-%m-%d %H:%M:%S} UTC"}
    if payment.is_given_up:
        return _("Not charged: the payment of %(amount)s was given up on %(at)s.") % facts
    if not payment.succeeded:
        return _("Not charged: the payment of %(amount)s was declined on %(at)s.") % facts
    if debit := client.debit_of(order.pk):
        facts["entry"] = str(debit.entry_id)
        return _("Charged once: %(amount)s on %(at)s, entry %(entry)s.") % facts
    return _("Charged once: %(amount)s on %(at)s.") % facts


def _giving_up(order: Order) -> str:
    """Return who gave its payment up, and why; of one that was made after all, too."""
    request = PaymentRequest.objects.filter(pk=order.pk).exclude(given_up_by="").first()
    if request is None:
        return ""
    facts = {"operator": request.given_up_by, "reason": request.given_up_reason}
    return _("Given up by %(operator)s: “%(reason)s”.") % facts


def _requests(requests: OrderRequests) -> str:
    if not requests.total:
        return ""
    text = ngettext("%(count)d pay request", "%(count)d pay requests", requests.total)
    duplicates = requests.total - requests.executed
    of_them = ngettext(
        "%(count)d of them a duplicate.", "%(count)d of them duplicates.", duplicates
    )
    return f"{text % {'count': requests.total}}, {of_them % {'count': duplicates}}"


def _others(order: Order, others: list[Order]) -> str:
    facts = {
        "count": len(others),
        "customer": order.customer.get_username(),
        "amount": money(order.amount, order.currency),
        "minutes": NEARBY // timedelta(minutes=1),
    }
    if not others:
        return (
            _("No other order of %(customer)s for %(amount)s within %(minutes)d minutes.") % facts
        )
    return (
        ngettext(
            "%(count)d other order of %(customer)s for %(amount)s within %(minutes)d minutes.",
            "%(count)d other orders of %(customer)s for %(amount)s within %(minutes)d minutes.",
            len(others),
        )
        % facts
    )


def _lookalikes(order: Order) -> list[Order]:
    """Return the customer's other orders of the same amount, made at about the same time."""
    placed_at = uuid7.made_at(order.pk)
    nearby = search.between(placed_at - NEARBY, placed_at + NEARBY)
    same = Order.objects.filter(
        nearby, customer=order.customer_id, amount=order.amount, currency=order.currency
    )
    return list(same.exclude(pk=order.pk).order_by("-id")[:OTHERS_MAX])
