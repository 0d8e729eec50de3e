"""The dedup table and the tokens in the admin; what every admin that never writes is made of."""

import json
import re
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.utils import flatten
from django.core.exceptions import PermissionDenied
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join

from idempotency import keys, records, tokens
from idempotency.models import Record, Token

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
    TabularInline = admin.TabularInline[Any, Any]
else:
    ModelAdmin, TabularInline = admin.ModelAdmin, admin.TabularInline

Column = Callable[[Any, Any], Any]

_ORDER = re.compile(r"/orders?/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/")


class ReadOnly:
    """Nobody adds, changes or deletes a row here, a superuser neither: a POST answers 403."""

    fields: ClassVar[Any] = ()

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return flatten(self.fields)


class ReadOnlyAdmin(ReadOnly, ModelAdmin):
    """Lists, finds and shows rows; `fields` may name columns that no form could edit."""

    uuid_fields: tuple[str, ...] = ()

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Find by a whole UUID through its index; by anything else as Django does."""
        identifier = whole_uuid(search_term) if self.uuid_fields else None
        if identifier is None:
            return super().get_search_results(request, queryset, search_term)
        named = Q(*((field, identifier) for field in self.uuid_fields), _connector=Q.OR)
        return queryset.filter(named), False


class ReadOnlyInline(ReadOnly, TabularInline):
    """Rows that are part of their parent: whoever may view the parent sees them."""

    extra = 0
    can_delete = False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return True


def whole_uuid(text: str) -> UUID | None:
    """Return the UUID that a text spells, or None."""
    try:
        return UUID(text.strip())
    except ValueError:
        return None


def moment(value: datetime) -> str:
    """Return a time to the millisecond, with its offset from UTC."""
    return value.isoformat(sep=" ", timespec="milliseconds")


def moment_of(field: str) -> Column:
    """Return a column that shows a time to the millisecond."""

    @admin.display(description=field.replace("_", " "), ordering=field)
    def column(_: Any, row: Any) -> str:
        return moment(getattr(row, field))

    return column


def minor_units(field: str) -> Column:
    """Return a column that says in what its amount is counted."""

    @admin.display(description=f"{field.replace('_', ' ')} (minor units)", ordering=field)
    def column(_: Any, row: Any) -> int | None:
        amount: int | None = getattr(row, field)
        return amount

    return column


def link(view: str, identifier: object, label: object) -> str:
    """Return a link to an admin page by the name of its view."""
    return format_html('<a href="{}">{}</a>', reverse(f"admin:{view}", args=[identifier]), label)


def link_to(row: Model) -> str:
    """Return a link to a row's own page."""
    return link(f"{row._meta.app_label}_{row._meta.model_name}_change", row.pk, row)


def link_to_list(view: str, query: str, label: str) -> str:
    """Return a link to the rows of a list that a query string selects."""
    return format_html('<a href="{}?{}">{}</a>', reverse(f"admin:{view}_changelist"), query, label)


def claim_of(request: HttpRequest, key: UUID) -> records.Claim:
    """Read the claim off a form that carries its key; all that it asks for is in its path."""
    if request.user.pk is None:
        raise PermissionDenied
    return records.Claim(
        caller=request.user.pk,
        key=str(key),
        fingerprint=keys.fingerprint(request.method, request.path, {}),
        method=request.method or "",
        path=request.path,
        request_id=getattr(request, "request_id", ""),
        subject="",
    )


class TombstoneFilter(admin.SimpleListFilter):
    title = "tombstone"
    parameter_name = "tombstone"

    def lookups(self, request: HttpRequest, model_admin: Any) -> tuple[tuple[str, str], ...]:
        return (("yes", "yes, the answer is gone"), ("no", "no, the answer is kept"))

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() not in {"yes", "no"}:
            return queryset
        return queryset.filter(body__isnull=self.value() == "yes")


@admin.register(Record)
class RecordAdmin(ReadOnlyAdmin):
    created = moment_of("created_at")
    list_display = ("created", "called_by", "method", "path", "key", "answered", "request_id")
    list_select_related = ("caller",)
    list_filter = ("status", TombstoneFilter, "method", "created_at")
    search_fields = ("key", "path", "headers__Location", "request_id", "caller__username")
    search_help_text = "Key, path or Location (an order's id), request id, caller"
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

    @admin.display(description="caller", ordering="caller__username")
    def called_by(self, record: Record) -> str:
        return link_to(record.caller)

    @admin.display(description="status", ordering="status")
    def answered(self, record: Record) -> str:
        return str(record.status or "tombstone")

    @admin.display(description="orders")
    def orders(self, record: Record) -> str:
        """Link to the orders that the request's path and its answer's Location name."""
        named = _ORDER.findall(f"{record.path} {record.headers.get('Location', '')}")
        links = ((link("orders_order_change", order, order),) for order in dict.fromkeys(named))
        return format_html_join(" ", "{}", links) or "-"

    @admin.display(description="answer")
    def answer(self, record: Record) -> str:
        if record.body is None:
            return "Tombstone: the answer was kept for its time. The key stays refused."
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

    issued, expires = moment_of("issued_at"), moment_of("expires_at")
    list_display = ("__str__", "issued_to", "issued", "expires")
    list_select_related = ("caller",)
    list_filter = ("issued_at", "expires_at")
    search_fields = ("caller__username",)
    search_help_text = "Caller, or the whole token"
    ordering = ("-issued_at",)
    fields = ("digest", "caller", "issued", "expires")

    @admin.display(description="caller", ordering="caller__username")
    def issued_to(self, token: Token) -> str:
        return link_to(token.caller)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Find a pasted token by its digest; anything else as Django does."""
        if tokens.looks_issued(search_term.strip()):
            return queryset.filter(digest=tokens.digest(search_term.strip())), False
        return super().get_search_results(request, queryset, search_term)
