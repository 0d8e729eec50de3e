"""What the admin's actions say of what they did."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from idempotency.errors import KeyExpired, KeyInUse, KeyReused, Refusal
from orders.models import Order

Message = tuple[int, str | Promise]

# What to say of an attempt to pay, by the order's status after it and whether it was the first.
OUTCOMES: dict[tuple[int, bool], Message] = {
    (Order.Status.PAID, True): (messages.SUCCESS, _("Paid.")),
    (Order.Status.PAID, False): (messages.INFO, _("Already paid, nothing changed.")),
    (Order.Status.FAILED, True): (messages.WARNING, _("Declined: the account lacks the money.")),
    (Order.Status.FAILED, False): (messages.INFO, _("Has failed already, nothing changed.")),
    (Order.Status.PAYING, True): (messages.INFO, _("Paying: the result is not there yet.")),
    (Order.Status.PAYING, False): (
        messages.INFO,
        _("Paying already, nothing changed."),
    ),
}
BUSY = (messages.ERROR, _("The database was busy. Nothing changed; try again."))
OTHER_TERMS = (messages.ERROR, _("Its payment was made on other terms. Nothing changed."))

SUBMITTED_AGAIN = (messages.SUCCESS, _("Submitted again: a new order."))
SENT_BEFORE = (messages.INFO, _("This form was sent before: here is its order. Nothing changed."))
UNORDERABLE = (
    messages.ERROR,
    _("Its products can't be ordered together any more. Nothing changed."),
)
GIVEN_UP = (
    messages.SUCCESS,
    _("Given up: the payment system is asked to decline it. This page shows what it says."),
)
NOT_DEAD_LETTERED = (messages.INFO, _("It was not dead-lettered, nothing changed."))
WITHOUT_A_REASON = (messages.ERROR, _("Give a reason. Nothing changed."))
REFUSED: dict[type[Refusal], Promise] = {
    KeyInUse: _("It is still being submitted. Send this form again: it makes one order."),
    KeyReused: _("That form was another order's. Nothing changed. Here is a new form."),
    KeyExpired: _("That form was sent long ago. Nothing changed. Here is a new form."),
}


def on_order_page(request: HttpRequest, pk: object, message: Message) -> HttpResponse:
    """Redirect to an order's page, with a message about what was done."""
    level, text = message
    messages.add_message(request, level, str(text))
    return HttpResponseRedirect(reverse("admin:orders_order_change", args=[pk]))
