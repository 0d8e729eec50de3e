"""The dedup table and the tokens in the admin: to read, never to change."""

import json
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.contrib.admin.utils import flatten
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from idempotency import tokens
from idempotency.models import Record, Token
from idempotency.pagination import LongList

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
else:
    ModelAdmin = admin.ModelAdmin


class ReadOnlyAdmin(LongList, ModelAdmin):
    """Nobody adds, changes or deletes a row here, not even a superuser: a POST gets 403."""

    fields: ClassVar[Any] = ()

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return flatten(self.fields)


class TombstoneFilter(admin.SimpleListFilter):
    title = _("tombstone")
    parameter_name = "tombstone"

    def lookups(self, request: HttpRequest, model_admin: Any) -> tuple[tuple[str, str], ...]:
        return (
            ("yes", gettext("yes, the response is gone")),
            ("no", gettext("no, the response is stored")),
        )

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() not in {"yes", "no"}:
            return queryset
        return queryset.filter(body__isnull=self.value() == "yes")


@admin.register(Record)
class RecordAdmin(ReadOnlyAdmin):
    list_display = (
        "created_at",
        "scope",
        "method",
        "path",
        "key",
        "response_status",
        "request_id",
    )
    list_filter = (TombstoneFilter, "created_at")
    search_fields = ("key__exact", "subject__exact", "request_id__exact", "scope__exact")
    search_help_text = _("The whole key, subject, request id or scope")
    ordering = ("-id",)
    fields: ClassVar[Any] = (
        ("created_at", "scope"),
        ("key", "request_id"),
        ("method", "path", "subject"),
        ("response_status", "content_type", "headers"),
        "response",
        ("fingerprint", "fingerprint_version"),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).defer("body")  # a list doesn't show it

    @admin.display(description=_("status"), ordering="status")
    def response_status(self, record: Record) -> str:
        return str(record.status or gettext("tombstone"))

    @admin.display(description=_("response"))
    def response(self, record: Record) -> str:
        if record.body is None:
            return gettext("Tombstone: the response's retention is over. The key stays refused.")
        return format_html("<pre>{}</pre>", pretty(bytes(record.body)))


def pretty(body: bytes) -> str:
    """Return a response's JSON with its members on lines of their own, or its text as it is."""
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except ValueError:
        return body.decode(errors="replace")


@admin.register(Token)
class TokenAdmin(ReadOnlyAdmin):
    """Tokens by their digest: the token itself is nowhere in the database."""

    list_display = ("__str__", "scope", "issued_at", "expires_at")
    list_filter = ("issued_at", "expires_at")
    search_fields = ("scope__exact",)
    search_help_text = _("Scope, or the whole token")
    ordering = ("-expires_at",)
    fields = ("digest", "scope", "issued_at", "expires_at")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Find a pasted token by its digest; anything else as Django does."""
        if tokens.looks_issued(search_term.strip()):
            return queryset.filter(digest=tokens.digest(search_term.strip())), False
        return super().get_search_results(request, queryset, search_term)
