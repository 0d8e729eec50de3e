"""Orders in the admin. The actions call the services, and their forms may be sent twice."""

from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

from django.apps import apps
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import OperationalError, transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils import translation
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from orders import search, services
from orders.admin import texts
from orders.admin.give_up import GiveUp
from orders.admin.submit_again import SubmitAgain
from orders.admin.tables import LineInline
from orders.models import Order, Product
from orders.verdict import verdict_on
from payments import client
from web.read_only_admin import (
    filter_by,
    link,
    link_to,
    link_to_list,
    moment_of,
    money_of,
)

Action = Callable[[HttpRequest, Order], HttpResponse]


def _currencies() -> Iterable[str]:
    """Return the currencies of all products, and so of orders."""
    return Product.objects.order_by("currency").values_list("currency", flat=True).distinct()


@admin.register(Order)
class OrderAdmin(SubmitAgain, GiveUp):
    """Orders to read, to pay, to submit again and to give up."""

    created = moment_of("created_at", _("created at"))
    updated = moment_of("updated_at", _("updated at"))
    minor_amount = money_of("amount", _("amount"))
    list_display = ("created", "placed_by", "what", "minor_amount", "status", "short_id", "account")
    list_select_related = ("customer",)
    list_filter = ("status", filter_by("currency", _("currency"), _currencies), "created_at")
    search_fields = ("customer__username__exact",)
    search_help_text = _("Customer, e-mail, amount, date or time (UTC), id, its beginning or end")
    ordering = ("-id",)
    fields = (
        ("id", "customer"),
        ("status", "minor_amount", "currency"),
        ("account", "payment", "records"),
        ("created", "updated"),
    )
    inlines = (LineInline,)

    @admin.display(description=_("customer"), ordering="customer__username")
    def placed_by(self, order: Order) -> str:
        return link_to(order.customer)

    @admin.display(description=_("what"))
    def what(self, order: Order) -> str:
        return ", ".join(map(str, order.lines.all()))

    @admin.display(description=_("id"), ordering="id")
    def short_id(self, order: Order) -> str:
        return f"{str(order.pk)[:13]}…"

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

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).prefetch_related("lines")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Find the orders that every word is about; of nothing, all."""
        if not search_term.strip():
            return queryset, False
        return queryset.filter(pk__in=search.matching(search_term).order_by()), False

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Return True if a member of staff may pay and submit again; viewing requires less."""
        return request.user.has_perm("orders.change_order")

    def get_urls(self) -> list[URLPattern]:
        """Put the actions before the pages, whose pattern matches anything."""
        actions: dict[str, Action] = {
            "pay": self._pay,
            "submit-again": self._submit_again,
            "give-up": self._give_up,
        }
        return [
            path(f"<uuid:order_id>/{name}/", self._guarded(act), name=f"orders_order_{name}")
            for name, act in actions.items()
        ] + super().get_urls()

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        context["verdict"] = verdict_on(kwargs["obj"])
        context["may_operate"] = self.has_operate_permission(request)
        context["may_pay"] = context["may_operate"] and _is_payable(kwargs["obj"])
        context["may_give_up"] = context["may_operate"] and bool(
            services.held_up_among([kwargs["obj"].pk])
        )
        return super().render_change_form(request, context, *args, **kwargs)

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
            return redirect("admin:orders_order_change", order.pk)
        return texts.on_order_page(request, order.pk, self._attempt(request, order))

    def _attempt(self, request: HttpRequest, order: Order) -> texts.Message:
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
                level, text = texts.OUTCOMES[attempt.order.status, attempt.first]
                if attempt.first:
                    with translation.override(None):  # the log is in one language
                        self.log_change(request, order, str(text))
        except (client.AccountNotFound, client.CurrencyMismatch):
            text = gettext("No account in %(currency)s is known here. Nothing changed.")
            return messages.ERROR, text % {"currency": order.currency}
        except client.PaymentMismatch:
            return texts.OTHER_TERMS
        except OperationalError:
            return texts.BUSY
        return level, text


def _is_payable(order: Order) -> bool:
    """Return True if there is anything to pay, from an account that is known here."""
    return order.status in {Order.Status.SUBMITTED, Order.Status.PAYING} and not client.is_remote()


def link_where_installed(view: str, identifier: object, label: object) -> str:
    """Return a link to a page of the payment system's, if that is in this process."""
    return link(view, identifier, label) if apps.is_installed("payments") else str(label)
