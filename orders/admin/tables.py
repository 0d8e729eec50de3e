"""Products, the history and the outbox in the admin."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from orders import outbox
from orders.models import OrderLine, PaymentRequest, Product, StatusChange
from web.read_only_admin import (
    ModelAdmin,
    ReadOnlyAdmin,
    ReadOnlyInline,
    link_to,
    moment_of,
    money_of,
)


@admin.register(Product)
class ProductAdmin(ModelAdmin):
    """The only rows that staff write; a product that was ordered can't be deleted."""

    minor_price = money_of("price", _("price"))
    list_display = ("sku", "name", "minor_price", "currency")
    list_filter = ("currency",)
    search_fields = ("sku", "name")
    ordering = ("sku",)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("sku",) if obj else ()  # submitting again finds the product by it


class LineInline(ReadOnlyInline):
    model = OrderLine
    minor_price = money_of("unit_price", _("unit price"))
    minor_amount = money_of("amount", _("amount"))
    fields = ("product", "sku", "name", "quantity", "minor_price", "minor_amount")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("product").order_by("id")


@admin.register(StatusChange)
class StatusChangeAdmin(ReadOnlyAdmin):
    moment = moment_of("at", _("at"))
    list_display = ("id", "changed", "source", "target", "moment")
    list_select_related = ("order",)
    list_filter = ("source", "target", "at")
    search_fields = ("order__customer__username__exact",)
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
    search_fields = ("request_id__exact",)
    search_help_text = _("The order's id, the request's id")
    uuid_fields = ("order_id",)
    text_fields = ("request_id",)
    ordering = ("-order_id",)
    list_select_related = ("order",)
    fields = (
        ("order", "request_id", "key_digest"),
        ("created", "due", "settled"),
        ("attempts", "claimed_by", "dead_lettered"),
        "last_error",
        ("given_up_by", "given_up_reason"),
        "response",
    )
    actions = ("requeue", *ReadOnlyAdmin.actions)

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
