"""Base classes of admin pages that never write, and functions that make their columns."""

import csv
import functools
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.utils import flatten
from django.db.models import BinaryField, JSONField, Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.template.response import SimpleTemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from idempotency.pagination import LongList
from web.database.replica import from_replica
from web.money import money

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

    ModelAdmin = admin.ModelAdmin[Any]
    TabularInline = admin.TabularInline[Any, Any]
else:
    ModelAdmin, TabularInline = admin.ModelAdmin, admin.TabularInline

Column = Callable[[Any, Any], Any]

CSV_ROWS_MAX = 100_000
FORMULAS = ("=", "+", "-", "@", "\t", "\r")


class ReadOnly:
    """Nobody adds, changes or deletes a row here, not even a superuser: a POST returns 403."""

    fields: ClassVar[Any] = ()

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return flatten(self.fields)


class ReadOnlyAdmin(ReadOnly, LongList, ModelAdmin):
    """Lists, searches and shows rows; `fields` may name columns that no form could edit."""

    actions: Any = ("export_csv",)
    uuid_fields: tuple[str, ...] = ()
    text_fields: tuple[str, ...] = ()  # whose values may look like a UUID

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Search a whole UUID through its index; anything else as Django does."""
        identifier = whole_uuid(search_term) if self.uuid_fields else None
        if identifier is None:
            return super().get_search_results(request, queryset, search_term)
        wanted: dict[str, UUID | str] = dict.fromkeys(self.uuid_fields, identifier)
        wanted |= dict.fromkeys(self.text_fields, search_term.strip())
        return queryset.filter(Q(*wanted.items(), _connector=Q.OR)), False

    def changelist_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Show a list, from the replica if there is one; an action is for the primary."""
        show = functools.partial(super().changelist_view, request, *args, **kwargs)
        # Asked here: who may view is read from the primary, and remembered.
        if request.method != "GET" or not self.has_view_or_change_permission(request):
            return show()
        return from_replica(lambda: _rendered(show()))

    @admin.action(description=_("Export the selected rows as CSV"), permissions=["view"])
    def export_csv(self, request: HttpRequest, queryset: QuerySet[Any]) -> StreamingHttpResponse:
        """Return the columns of the table as they are stored: minor units, times in UTC."""
        response = StreamingHttpResponse(csv_of(queryset), content_type="text/csv; charset=utf-8")
        name = self.model._meta.model_name
        response["Content-Disposition"] = f'attachment; filename="{name}.csv"'
        return response


def csv_of(queryset: QuerySet[Any]) -> Iterator[str]:
    """Yield the lines of a table's rows, at most CSV_ROWS_MAX, and a first one with the names.

    A text that a spreadsheet would run as a formula begins with an apostrophe.
    """
    fields = queryset.model._meta.concrete_fields
    names = [field.attname for field in fields if not isinstance(field, BinaryField | JSONField)]
    line = csv.writer(_Echo())
    yield line.writerow(names)
    for row in queryset.values_list(*names)[:CSV_ROWS_MAX].iterator(chunk_size=1000):
        yield line.writerow(map(_cell, row))


class _Echo:
    """A file whose `write` returns what was written, as `csv.writer` then does."""

    def write(self, line: str) -> str:
        return line


def _cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return moment(value)
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULAS) else value


def _rendered(response: HttpResponse) -> HttpResponse:
    """Return a response that reads nothing more."""
    return response.render() if isinstance(response, SimpleTemplateResponse) else response


def filter_by(
    field: str, label: "StrOrPromise", values: Callable[[], Iterable[str]]
) -> type[admin.SimpleListFilter]:
    """Return a filter that offers these values; Django's own would look for them in every row."""

    class FixedValues(admin.SimpleListFilter):
        title = label
        parameter_name = field

        def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
            return [(value, value) for value in values()]

        def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
            return queryset.filter(**{field: self.value()}) if self.value() else queryset

    return FixedValues


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


def moment(value: datetime | None) -> str:
    """Return a time to the millisecond, with its offset from UTC."""
    return "-" if value is None else value.isoformat(sep=" ", timespec="milliseconds")


def moment_of(field: str, label: "StrOrPromise") -> Column:
    """Return a column that shows a time to the millisecond."""

    @admin.display(description=label, ordering=field)
    def column(model_admin: Any, row: Any) -> str:
        return moment(getattr(row, field))

    return column


def money_of(field: str, label: "StrOrPromise") -> Column:
    """Return a column of an amount in the row's currency."""

    @admin.display(description=label, ordering=field)
    def column(model_admin: Any, row: Any) -> str:
        amount: int | None = getattr(row, field)
        return "-" if amount is None else money(amount, row.currency)

    return column


def link(view: str, identifier: object, label: object) -> str:
    """Return a link to an admin page by the name of its view."""
    return format_html('<a href="{}">{}</a>', reverse(f"admin:{view}", args=[identifier]), label)


def page_of(row: Model) -> str:
    """Return the address of a row's admin page."""
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])


def link_to(row: Model) -> str:
    """Return a link to a row's admin page."""
    return format_html('<a href="{}">{}</a>', page_of(row), row)


def link_to_list(view: str, query: str, label: "StrOrPromise") -> str:
    """Return a link to the rows of a list that a query string selects."""
    return format_html('<a href="{}?{}">{}</a>', reverse(f"admin:{view}_changelist"), query, label)
