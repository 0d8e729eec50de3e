"""The dedup table and the tokens in the admin."""

import json
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from idempotency import tokens
from idempotency.models import Record, Token
from idempotency.read_only_admin import ReadOnlyAdmin, link, link_to, moment_of, orders_named


class TombstoneFilter(admin.SimpleListFilter):
    title = _("tombstone")
    parameter_name = "tombstone"

    def lookups(self, request: HttpRequest, model_admin: Any) -> tuple[tuple[str, str], ...]:
        return (
            ("yes", gettext("yes, the answer is gone")),
            ("no", gettext("no, the answer is kept")),
        )

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() not in {"yes", "no"}:
            return queryset
        return queryset.filter(body__isnull=self.value() == "yes")


@admin.register(Record)
class RecordAdmin(ReadOnlyAdmin):
    created = moment_of("created_at", _("created at"))
    list_display = ("created", "called_by", "method", "path", "key", "answered", "request_id")
    list_select_related = ("caller",)
    list_filter = ("status", TombstoneFilter, "method", "created_at")
    search_fields = ("key", "path", "headers__Location", "request_id", "caller__username")
    search_help_text = _("Key, path or Location (an order's id), request id, caller")
    ordering = ("-id",)
    fields = (
        ("created", "caller"),
        ("key", "request_id"),
        ("method", "path"),
        "orders",
        ("answered", "content_type", "headers"),
        "answer",
        ("fingerprint", "fingerprint_version"),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).defer("body")  # a list doesn't show it

    @admin.display(description=_("caller"), ordering="caller__username")
    def called_by(self, record: Record) -> str:
        return link_to(record.caller)

    @admin.display(description=_("status"), ordering="status")
    def answered(self, record: Record) -> str:
        return str(record.status or gettext("tombstone"))

    @admin.display(description=_("orders"))
    def orders(self, record: Record) -> str:
        """Link to the orders that the request's path and its answer's Location name."""
        named = dict.fromkeys(orders_named(record))
        links = ((link("orders_order_change", order, order),) for order in named)
        return format_html_join(" ", "{}", links) or "-"

    @admin.display(description=_("answer"))
    def answer(self, record: Record) -> str:
        if record.body is None:
            return gettext("Tombstone: the answer was kept for its time. The key stays refused.")
        return format_html("<pre>{}</pre>", pretty(bytes(record.body)))


def pretty(body: bytes) -> str:
    """Return an answer's JSON with its members on lines of their own, or its text as it is."""
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except ValueError:
        return body.decode(errors="replace")


@admin.register(Token)
class TokenAdmin(ReadOnlyAdmin):
    """Tokens by their digest: the token itself is nowhere in the database."""

    issued = moment_of("issued_at", _("issued at"))
    expires = moment_of("expires_at", _("expires at"))
    list_display = ("__str__", "issued_to", "issued", "expires")
    list_select_related = ("caller",)
    list_filter = ("issued_at", "expires_at")
    search_fields = ("caller__username",)
    search_help_text = _("Caller, or the whole token")
    ordering = ("-issued_at",)
    fields = ("digest", "caller", "issued", "expires")

    @admin.display(description=_("caller"), ordering="caller__username")
    def issued_to(self, token: Token) -> str:
        return link_to(token.caller)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Find a pasted token by its digest; anything else as Django does."""
        if tokens.looks_issued(search_term.strip()):
            return queryset.filter(digest=tokens.digest(search_term.strip())), False
        return super().get_search_results(request, queryset, search_term)
