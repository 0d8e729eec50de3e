"""Submitting an order again from the admin: one form, however often it is sent, makes one order."""

import json
from uuid import UUID, uuid4

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils import translation
from django.utils.translation import gettext

from idempotency.errors import Refusal
from orders import once, services
from orders.admin import texts
from orders.errors import MixedCurrencies, ProductNotFound
from orders.models import Order
from web.read_only_admin import ReadOnlyAdmin, whole_uuid


class SubmitAgain(ReadOnlyAdmin):
    """The part of an order's admin that places the same order anew."""

    def _submit_again(self, request: HttpRequest, order: Order) -> HttpResponse:
        """Ask, then place the same order anew; the same form sent again ends on the same order.

        The form's key is in its address too: whoever comes back to the page finds the same form.
        """
        key = whole_uuid(request.POST.get("key") or request.GET.get("key", ""))
        if key is None:
            return HttpResponseRedirect(f"{request.path}?key={uuid4()}")
        if request.method != "POST":
            return self._form(request, order, key)
        try:
            response = once.place_once(
                request, lambda: self._place_again(request, order), key=str(key)
            )
        except (ProductNotFound, MixedCurrencies):
            return texts.on_order_page(request, order.pk, texts.UNORDERABLE)
        except Refusal as refusal:
            text = texts.REFUSED.get(type(refusal), str(refusal.detail))
            self.message_user(request, str(text), messages.ERROR)
            return HttpResponseRedirect(
                f"{request.path}?key={key if refusal.same_key else uuid4()}"
            )
        placed = json.loads(response.content)["id"]
        message = texts.SENT_BEFORE if "Idempotent-Replayed" in response else texts.SUBMITTED_AGAIN
        return texts.on_order_page(request, placed, message)

    def _form(self, request: HttpRequest, order: Order, key: UUID) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("Submit again"),
            "opts": self.opts,
            "original": order,
            "lines": order.lines.select_related("product").order_by("id"),
            "key": key,
        }
        return TemplateResponse(request, "admin/orders/order/submit_again.html", context)

    def _place_again(self, request: HttpRequest, order: Order) -> Order:
        lines = [services.Line(line.sku, line.quantity) for line in order.lines.order_by("id")]
        placed = services.place_order(customer=order.customer, lines=lines)
        with translation.override(None):
            self.log_addition(request, placed, f"Submitted again from order {order.pk}.")
        return placed
