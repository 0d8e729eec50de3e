"""Idempotency records in the admin, with a link to the order that they are about."""

from typing import Any, ClassVar

from django.apps import apps
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from idempotency.admin import RecordAdmin, TokenAdmin
from idempotency.models import Record, Token
from operations import user_admin
from operations.records import ORDER, order_of
from web.read_only_admin import link, moment_of, whole_uuid

__all__ = ["RecordPage", "TokenPage", "user_admin"]

admin.site.unregister([Record, Token])


@admin.register(Record)
class RecordPage(RecordAdmin):
    created = moment_of("created_at", _("created at"))
    list_display = (
        "created",
        "made_by",
        "method",
        "path",
        "key",
        "response_status",
        "request_id",
    )
    fields: ClassVar[Any] = (
        ("created", "made_by"),
        ("key", "request_id"),
        ("method", "path"),
        "order",
        ("response_status", "content_type", "headers"),
        "response",
        ("fingerprint", "fingerprint_version"),
    )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Find what is about an order by the order's id too."""
        found, distinct = super().get_search_results(request, queryset, search_term)
        if order_id := whole_uuid(search_term):
            found |= queryset.filter(subject=f"{ORDER}{order_id}")
        return found, distinct

    @admin.display(description=_("scope"), ordering="scope")
    def made_by(self, record: Record) -> str:
        return link_to_scope(record.scope)

    @admin.display(description=_("order"))
    def order(self, record: Record) -> str:
        """Link to the order that the record's subject names."""
        order_id = order_of(record)
        if order_id is None or not apps.is_installed("orders"):
            return record.subject or "-"
        return link("orders_order_change", order_id, order_id)


@admin.register(Token)
class TokenPage(TokenAdmin):
    issued = moment_of("issued_at", _("issued at"))
    expires = moment_of("expires_at", _("expires at"))
    list_display = ("__str__", "issued_to", "issued", "expires")
    fields = ("digest", "issued_to", "issued", "expires")

    @admin.display(description=_("scope"), ordering="scope")
    def issued_to(self, token: Token) -> str:
        return link_to_scope(token.scope)


def link_to_scope(scope: str) -> str:
    """Return a link to the user whose scope this is; the text alone of any other scope."""
    kind, _separator, identifier = scope.partition(":")
    return link("auth_user_change", identifier, scope) if kind == "user" else scope or "-"
