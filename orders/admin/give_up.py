"""Giving a dead-lettered payment up from the admin: the order fails, with a name and a reason."""

from django.db import OperationalError, transaction
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext
from django.utils.translation import gettext_noop as _

from orders import outbox
from orders.admin import texts
from orders.models import Order, PaymentRequest
from web.read_only_admin import ReadOnlyAdmin

REASON_MAX = 500  # characters
LOGGED = _("Gave the payment up.")  # without the reason: the customer's page shows it


class GiveUp(ReadOnlyAdmin):
    """The part of an order's admin that has a refused payment declined."""

    def _give_up(self, request: HttpRequest, order: Order) -> HttpResponse:
        """Ask for a reason, then hand the rest to the relay; a repeated form changes nothing."""
        refused = PaymentRequest.objects.filter(order=order, dead_lettered=True).first()
        if refused is None:
            return texts.on_order_page(request, order.pk, texts.NOT_DEAD_LETTERED)
        if request.method != "POST":
            return self._ask(request, order, refused)
        reason = request.POST.get("reason", "").strip()[:REASON_MAX]
        if not reason:
            return texts.on_order_page(request, order.pk, texts.WITHOUT_A_REASON)
        try:
            with transaction.atomic():
                # Won or lost here: of two forms, the second waits, then matches no row.
                by = request.user.get_username()
                given_up = outbox.give_up(order.pk, by=by, reason=reason)
                if given_up:
                    self.log_change(request, order, LOGGED)
        except OperationalError:
            return texts.on_order_page(request, order.pk, texts.BUSY)
        message = texts.GIVEN_UP if given_up else texts.NOT_DEAD_LETTERED
        return texts.on_order_page(request, order.pk, message)

    def _ask(self, request: HttpRequest, order: Order, refused: PaymentRequest) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("Give the payment up"),
            "opts": self.opts,
            "original": order,
            "refused": refused,
            "reason_max": REASON_MAX,
        }
        return TemplateResponse(request, "admin/orders/order/give_up.html", context)
