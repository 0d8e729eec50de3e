"""Accounts, payments and the ledger in the admin: to read, never to change."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from payments.models import Account, Entry, Payment
from web.read_only_admin import (
    ReadOnlyAdmin,
    ReadOnlyInline,
    filter_by,
    link,
    link_to,
    link_to_list,
    moment_of,
    money_of,
    whole_uuid,
)


def _currencies() -> Iterable[str]:
    """Return the currencies of all money: each has a settlement account."""
    settlements = Account.objects.filter(owner=None).order_by("currency")
    return settlements.values_list("currency", flat=True)


by_currency = filter_by("currency", _("currency"), _currencies)


def link_to_order(order_id: UUID) -> str:
    """Return a link by name only: payments know an order by its id and no more."""
    return link("orders_order_change", order_id, gettext("order %(order)s") % {"order": order_id})


@admin.register(Account)
class AccountAdmin(ReadOnlyAdmin):
    created = moment_of("created_at", _("created at"))
    minor_balance = money_of("balance", _("balance"))
    opening = money_of("opening_balance", _("opening balance"))
    list_display = ("id", "owned_by", "currency", "minor_balance", "created")
    list_select_related = ("owner",)
    list_filter = (by_currency, "created_at", ("owner", admin.EmptyFieldListFilter))
    search_fields = ("id__exact", "owner__username__exact")
    search_help_text = _("Account number, owner")
    ordering = ("id",)
    fields = (
        "id",
        "owner",
        "currency",
        "opening",
        "minor_balance",
        "entries",
        "payments",
        "created",
    )

    @admin.display(description=_("owner"), ordering="owner__username")
    def owned_by(self, account: Account) -> str:
        return link_to(account.owner) if account.owner else gettext("settlement")

    @admin.display(description=_("entries"))
    def entries(self, account: Account) -> str:
        query = f"account__id__exact={account.pk}"
        return link_to_list("payments_entry", query, gettext("all its entries"))

    @admin.display(description=_("payments"))
    def payments(self, account: Account) -> str:
        query = f"account__id__exact={account.pk}"
        return link_to_list("payments_payment", query, gettext("all payments from it"))


class OnSettlement(admin.SimpleListFilter):
    """By whose account it is: there are few settlement accounts, and each has many entries."""

    title = _("account")
    parameter_name = "settlement"

    def lookups(self, request: HttpRequest, model_admin: Any) -> tuple[tuple[str, Any], ...]:
        return (("yes", _("settlement")), ("no", _("a customer's")))

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() not in {"yes", "no"}:
            return queryset
        settlements = list(Account.objects.filter(owner=None).values_list("pk", flat=True))
        chosen = queryset.filter if self.value() == "yes" else queryset.exclude
        return chosen(account__in=settlements)


class EntryInline(ReadOnlyInline):
    model = Entry
    created = moment_of("created_at", _("created at"))
    minor_amount = money_of("amount", _("amount"))
    after = money_of("balance_after", _("balance after"))
    fields = ("account", "minor_amount", "currency", "after", "created")
    show_change_link = True

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("account__owner").order_by("id")


@admin.register(Payment)
class PaymentAdmin(ReadOnlyAdmin):
    created = moment_of("created_at", _("created at"))
    minor_amount = money_of("amount", _("amount"))
    list_display = ("id", "order", "charged", "minor_amount", "currency", "outcome", "created")
    list_select_related = ("account__owner",)
    list_filter = ("outcome", by_currency, "created_at")
    search_fields = ("account__owner__username__exact",)
    search_help_text = _("The order's id, the payment's id, the account's owner")
    uuid_fields = ("id", "order_id")
    ordering = ("-id",)
    fields = (
        "id",
        "order",
        "account",
        "minor_amount",
        "currency",
        "outcome",
        "all_entries",
        "created",
    )
    inlines = (EntryInline,)

    @admin.display(description=_("order"), ordering="order_id")
    def order(self, payment: Payment) -> str:
        return link_to_order(payment.order_id)

    @admin.display(description=_("account"), ordering="account")
    def charged(self, payment: Payment) -> str:
        return link_to(payment.account) if payment.account else "-"

    @admin.display(description=_("entries"))
    def all_entries(self, payment: Payment) -> str:
        query = f"payment__id__exact={payment.pk}"
        return link_to_list("payments_entry", query, gettext("its entries"))


@admin.register(Entry)
class EntryAdmin(ReadOnlyAdmin):
    created = moment_of("created_at", _("created at"))
    minor_amount = money_of("amount", _("amount"))
    after = money_of("balance_after", _("balance after"))
    list_display = (
        "id",
        "booked_on",
        "minor_amount",
        "currency",
        "after",
        "part_of",
        "order",
        "created",
    )
    list_select_related = ("account__owner", "payment")
    list_filter = (by_currency, "created_at", OnSettlement)
    search_fields = ("account__owner__username__exact",)
    search_help_text = _("The order's id, the payment's id, the account's owner")
    ordering = ("-id",)
    fields = (
        "id",
        "account",
        "minor_amount",
        "currency",
        "after",
        "payment",
        "order",
        "created",
    )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Find the entries of a payment by its id or its order's, each through its index."""
        if (identifier := whole_uuid(search_term)) is None:
            return super().get_search_results(request, queryset, search_term)
        named = Payment.objects.filter(Q(pk=identifier) | Q(order_id=identifier))
        return queryset.filter(payment__in=named), False

    @admin.display(description=_("account"), ordering="account")
    def booked_on(self, entry: Entry) -> str:
        return link_to(entry.account)

    @admin.display(description=_("payment"), ordering="payment")
    def part_of(self, entry: Entry) -> str:
        return link("payments_payment_change", entry.payment_id, entry.payment.outcome_in_words)

    @admin.display(description=_("order"), ordering="payment__order_id")
    def order(self, entry: Entry) -> str:
        return link_to_order(entry.payment.order_id)
