"""Products and orders in the admin. Its actions call the services and may be sent twice."""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

from django.apps import apps
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import OperationalError, transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import translation
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from idempotency.errors import KeyExpired, KeyInUse, KeyReused, Refusal
from orders import once, outbox, services
from orders.errors import MixedCurrencies, ProductNotFound
from orders.models import Order, OrderLine, PaymentRequest, Product, StatusChange
from payments import client
from web.read_only_admin import (
    ModelAdmin,
    ReadOnlyAdmin,
    ReadOnlyInline,
    link,
    link_to,
    link_to_list,
    minor_units,
    moment_of,
    whole_uuid,
)

MAX_PAID_AT_ONCE = 100

Message = tuple[int, str | Promise]
Action = Callable[[HttpRequest, Order], HttpResponse]

# What to say of an attempt to pay, by the order's status after it and whether it was the first.
OUTCOMES: dict[tuple[int, bool], Message] = {
    (Order.Status.PAID, True): (messages.SUCCESS, _("Paid.")),
    (Order.Status.PAID, False): (messages.INFO, _("Already paid, nothing changed.")),
    (Order.Status.FAILED, True): (messages.WARNING, _("Declined: the account lacks the money.")),
    (Order.Status.FAILED, False): (messages.INFO, _("Has failed already, nothing changed.")),
    (Order.Status.PAYING, True): (messages.INFO, _("Paying: the result is not there yet.")),
    (Order.Status.PAYING, False): (messages.INFO, _("Being paid already, nothing changed.")),
}
BUSY = (messages.ERROR, _("The database was busy. Nothing changed; try again."))
OTHER_TERMS = (messages.ERROR, _("Its payment was made on other terms. Nothing changed."))

SUBMITTED_AGAIN = (messages.SUCCESS, _("Submitted again: a new order."))
SENT_BEFORE = (messages.INFO, _("This form was sent before: here is its order. Nothing changed."))
UNORDERABLE = (
    messages.ERROR,
    _("Its products can't be ordered together any more. Nothing changed."),
)
REFUSED: dict[type[Refusal], Promise] = {
    KeyInUse: _("It is still being submitted. Send this form again: it makes one order."),
    KeyReused: _("That form was another order's. Nothing changed. Here is a new form."),
    KeyExpired: _("That form was sent long ago. Nothing changed. Here is a new form."),
}


@admin.register(Product)
class ProductAdmin(ModelAdmin):
    """The only rows that staff write; a product that was ordered can't be deleted."""

    minor_price = minor_units("price", _("price"))
    list_display = ("sku", "name", "minor_price", "currency")
    list_filter = ("currency",)
    search_fields = ("sku", "name")
    ordering = ("sku",)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("sku",) if obj else ()  # submitting again finds the product by it


class LineInline(ReadOnlyInline):
    model = OrderLine
    minor_price = minor_units("unit_price", _("unit price"))
    minor_amount = minor_units("amount", _("amount"))
    fields = ("product", "sku", "name", "quantity", "minor_price", "minor_amount")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("product").order_by("id")


@admin.register(StatusChange)
class StatusChangeAdmin(ReadOnlyAdmin):
    moment = moment_of("at", _("at"))
    list_display = ("id", "changed", "source", "target", "moment")
    list_select_related = ("order",)
    list_filter = ("source", "target", "at")
    search_fields = ("^order__id", "order__customer__username")
    search_help_text = _("The order's id, its customer")
    uuid_fields = ("order_id",)
    ordering = ("-id",)
    fields = ("order", "source", "target", "moment")

    @admin.display(description=_("order"), ordering="order")
    def changed(self, change: StatusChange) -> str:
        return link_to(change.order)


@admin.register(PaymentRequest)
class PaymentRequestAdmin(ReadOnlyAdmin):
    """The outbox. What was refused is dead-lettered here, until somebody has it sent again."""

    created = moment_of("created_at", _("created at"))
    due = moment_of("due_at", _("due at"))
    settled = moment_of("settled_at", _("settled at"))
    list_display = ("order", "created", "attempts", "dead_lettered", "last_error", "due", "settled")
    list_filter = ("dead_lettered", ("settled_at", admin.EmptyFieldListFilter), "created_at")
    search_fields = ("^order__id", "request_id", "last_error")
    search_help_text = _("The order's id, the request's id, the last error")
    uuid_fields = ("order_id",)
    ordering = ("-created_at",)
    list_select_related = ("order",)
    fields = (
        ("order", "request_id", "key_digest"),
        ("created", "due", "settled"),
        ("attempts", "claimed_by", "dead_lettered"),
        "last_error",
        "response",
    )
    actions = ("requeue",)

    def has_operate_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("orders.change_order")

    @admin.action(
        description=_("Requeue the selected dead-lettered requests"), permissions=["operate"]
    )
    def requeue(self, request: HttpRequest, queryset: QuerySet[PaymentRequest]) -> None:
        """Requeue what is dead-lettered; a repeated form matches no row."""
        sent = outbox.requeue(list(queryset.values_list("pk", flat=True)))
        text = gettext("%(count)d requeued; the others were not dead-lettered.")
        self.message_user(request, text % {"count": sent})


@admin.register(Order)
class OrderAdmin(ReadOnlyAdmin):
    """Orders to read, to pay and to submit again."""

    created = moment_of("created_at", _("created at"))
    updated = moment_of("updated_at", _("updated at"))
    minor_amount = minor_units("amount", _("amount"))
    list_display = ("id", "placed_by", "status", "minor_amount", "currency", "account", "created")
    list_select_related = ("customer",)
    list_filter = ("status", "currency", "created_at")
    search_fields = ("^id", "customer__username", "lines__sku")
    search_help_text = _("Order id, customer, sku")
    uuid_fields = ("id",)
    ordering = ("-id",)
    fields = (
        ("id", "customer"),
        ("status", "minor_amount", "currency"),
        ("account", "payment", "records"),
        ("created", "updated"),
    )
    inlines = (LineInline,)
    actions = ("pay_selected",)

    @admin.display(description=_("customer"), ordering="customer__username")
    def placed_by(self, order: Order) -> str:
        return link_to(order.customer)

    @admin.display(description=_("account"), ordering="account_id")
    def account(self, order: Order) -> str:
        if order.account_id is None:
            return "-"
        label = gettext("account %(number)s") % {"number": order.account_id}
        return link_where_installed("payments_account_change", order.account_id, label)

    @admin.display(description=_("payment"))
    def payment(self, order: Order) -> str:
        payment = services.payments_of([order.pk]).get(order.pk)
        if payment is None:
            return "-"
        label = gettext("succeeded") if payment.succeeded else gettext("declined")
        return link_where_installed("payments_payment_change", payment.id, label)

    @admin.display(description=_("idempotency records"))
    def records(self, order: Order) -> str:
        label = gettext("all that name this order")
        return link_to_list("idempotency_record", f"q={order.pk}", label)

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Return True if a member of staff may pay and submit again; viewing requires less."""
        return request.user.has_perm("orders.change_order")

    def get_urls(self) -> list[URLPattern]:
        """Put the two actions before the pages, whose pattern matches anything."""
        actions: dict[str, Action] = {"pay": self._pay, "submit-again": self._submit_again}
        return [
            path(f"<uuid:order_id>/{name}/", self._guarded(act), name=f"orders_order_{name}")
            for name, act in actions.items()
        ] + super().get_urls()

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        context["may_operate"] = self.has_operate_permission(request)
        context["may_pay"] = context["may_operate"] and _is_payable(kwargs["obj"])
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.action(description=_("Pay the selected orders"), permissions=["operate"])
    def pay_selected(self, request: HttpRequest, queryset: QuerySet[Order]) -> None:
        """Pay each order in a transaction of its own; sent again, it charges nothing more."""
        orders = list(queryset.select_related("customer")[: MAX_PAID_AT_ONCE + 1])
        if len(orders) > MAX_PAID_AT_ONCE:
            refusal = gettext("Select at most %(limit)d orders. Nothing changed.")
            self.message_user(request, refusal % {"limit": MAX_PAID_AT_ONCE}, messages.ERROR)
            return
        outcomes = Counter(self._attempt(request, order) for order in orders)
        for (level, text), count in outcomes.items():
            counted = {"outcome": text, "count": count, "all": len(orders)}
            message = gettext("%(outcome)s (%(count)d of %(all)d)") % counted
            self.message_user(request, message, level)

    def _guarded(self, act: Action) -> Callable[..., HttpResponse]:
        """Wrap an action: for staff who may operate, on an order that exists."""

        def view(request: HttpRequest, order_id: UUID) -> HttpResponse:
            if not self.has_operate_permission(request):
                raise PermissionDenied
            order = self.get_object(request, str(order_id))
            if order is None:
                raise Http404
            return act(request, order)

        return self.admin_site.admin_view(view)

    def _pay(self, request: HttpRequest, order: Order) -> HttpResponse:
        if request.method != "POST":  # as after signing in on the way here
            return HttpResponseRedirect(order_page(order.pk))
        return self._show(request, order.pk, self._attempt(request, order))

    def _attempt(self, request: HttpRequest, order: Order) -> Message:
        """Pay an order from its customer's fullest account; a repeated form changes nothing."""
        try:
            with transaction.atomic():
                attempt = services.pay_order(
                    customer=order.customer,
                    order_id=order.pk,
                    account_id=client.account_with_most(
                        owner=order.customer, currency=order.currency
                    ),
                )
                level, text = OUTCOMES[attempt.order.status, attempt.first]
                if attempt.first:
                    with translation.override(None):  # the log is in one language
                        self.log_change(request, order, str(text))
        except (client.AccountNotFound, client.CurrencyMismatch):
            text = gettext("No account in %(currency)s is known here. Nothing changed.")
            return messages.ERROR, text % {"currency": order.currency}
        except client.PaymentMismatch:
            return OTHER_TERMS
        except OperationalError:
            return BUSY
        return level, text

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
            return self._show(request, order.pk, UNORDERABLE)
        except Refusal as refusal:
            text = REFUSED.get(type(refusal), str(refusal.detail))
            self.message_user(request, str(text), messages.ERROR)
            return HttpResponseRedirect(
                f"{request.path}?key={key if refusal.same_key else uuid4()}"
            )
        placed = json.loads(response.content)["id"]
        message = SENT_BEFORE if "Idempotent-Replayed" in response else SUBMITTED_AGAIN
        return self._show(request, placed, message)

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

    def _show(self, request: HttpRequest, pk: object, message: Message) -> HttpResponse:
        """Redirect to an order's page, with a message about what was done."""
        level, text = message
        self.message_user(request, str(text), level)
        return HttpResponseRedirect(order_page(pk))


def _is_payable(order: Order) -> bool:
    """Return True if there is anything to pay, from an account that is known here."""
    return order.status in {Order.Status.SUBMITTED, Order.Status.PAYING} and not client.is_remote()


def link_where_installed(view: str, identifier: object, label: object) -> str:
    """Return a link to a page of the payment system's, if that is in this process."""
    return link(view, identifier, label) if apps.is_installed("payments") else str(label)


def order_page(pk: object) -> str:
    return reverse("admin:orders_order_change", args=[pk])
