"""The dashboard's search: by a key, its digest, an order's id or a request's id, exact and whole.

Orders are also found by what a customer has at hand (`orders.search`).

Rows that a user may not view are not found, nor do they lead to others.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.apps import apps
from django.db import OperationalError
from django.db.models import Q
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from idempotency import tokens
from idempotency.journal.models import JournaledRequest
from idempotency.models import Record, Token
from operations.dashboard.lists import (
    ROWS_MAX,
    VIEW_JOURNAL,
    VIEW_ORDERS,
    VIEW_PAYMENTS,
    VIEW_RECORDS,
    VIEW_REQUESTS,
    VIEW_TOKENS,
    Listed,
    may,
)
from operations.records import ORDER, order_named, order_of
from web.money import money
from web.read_only_admin import moment, page_of, whole_uuid

if apps.is_installed("orders"):
    from orders import search as order_search
    from orders.models import Order, PaymentRequest
if apps.is_installed("payments"):
    from payments.models import Payment

TEXT_CHARACTERS_MAX = 255  # as of a key


@dataclass(frozen=True)
class SearchHit:
    """A row that was found: its page in the admin, and its columns."""

    label: object
    url: str
    cells: tuple[object, ...]


@dataclass(frozen=True)
class SearchGroup:
    """The rows of one kind that were found."""

    title: Promise
    headings: tuple[Promise, ...]
    listed: Listed[SearchHit]


@dataclass(frozen=True)
class SearchResult:
    """The groups that a search found; none if it took too long."""

    groups: list[SearchGroup]
    took_too_long: bool = False


def search(user: Any, text: str) -> SearchResult:
    """Find the rows that a text names, of those that a user may view; reads only."""
    if not 0 < len(text) <= TEXT_CHARACTERS_MAX or "\0" in text:
        return SearchResult([])
    try:
        groups = _Search(user, text).groups()
    except OperationalError:  # the database's limit on a statement
        return SearchResult([], took_too_long=True)
    return SearchResult([group for group in groups if group.listed.rows])


class _Search:
    def __init__(self, user: Any, text: str) -> None:
        self.user = user
        self.text = text
        self.identifier = whole_uuid(text)

    def groups(self) -> list[SearchGroup]:
        records = self._records() if may(self.user, VIEW_RECORDS) else Listed[Record]([])
        requests: Listed[Any] = self._requests() if may(self.user, VIEW_REQUESTS) else Listed([])
        named = {order_id for record in records.rows if (order_id := order_of(record))}
        named |= {request.pk for request in requests.rows}
        if may(self.user, VIEW_JOURNAL):
            named |= self._journaled()
        groups = [_records_group(records), _requests_group(requests)]
        if may(self.user, VIEW_ORDERS):
            groups.insert(0, _orders_group(self._orders(named)))
        if may(self.user, VIEW_PAYMENTS):
            groups.append(_payments_group(self._payments()))
        if may(self.user, VIEW_TOKENS):
            groups.append(_tokens_group(self._tokens()))
        return groups

    def _records(self) -> Listed[Record]:
        wanted = Q(key=self.text) | Q(request_id=self.text)
        if self.identifier:
            wanted |= Q(subject=f"{ORDER}{self.identifier}")
        rows = Record.objects.filter(wanted).defer("body")
        return Listed.of(rows.order_by("-id")[: Listed.read])

    def _journaled(self) -> set[UUID]:
        """Return the orders of a duplicate with this request id or key digest: it has no record."""
        wanted = Q(request_id=self.text) | Q(key_digest=self.text)
        rows = JournaledRequest.objects.filter(wanted, subject__startswith=ORDER)
        subjects = rows.values_list("subject", flat=True)[:ROWS_MAX]
        return {order_id for subject in subjects if (order_id := order_named(subject))}

    def _requests(self) -> Listed[Any]:
        wanted = Q(request_id=self.text)
        if self.identifier:
            wanted |= Q(order=self.identifier)
        rows = PaymentRequest.objects.filter(wanted).defer("body", "response")
        return Listed.of(rows.order_by("-created_at")[: Listed.read])

    def _orders(self, named: set[UUID]) -> Listed[Any]:
        """Find what a record, a request or a duplicate names, or every word is about."""
        matching = order_search.matching(self.text).values_list("pk", flat=True)
        rows = Order.objects.filter(pk__in=named | set(matching[: Listed.read]))
        rows = rows.select_related("customer").prefetch_related("lines")
        return Listed.of(rows.order_by("-id")[: Listed.read])

    def _payments(self) -> Listed[Any]:
        if self.identifier is None:
            return Listed([])
        return Listed.of(Payment.objects.filter(order_id=self.identifier))

    def _tokens(self) -> Listed[Token]:
        """Find a token that was issued and not used yet; a used one is the key of a record."""
        if not tokens.looks_issued(self.text):
            return Listed([])
        rows = Token.objects.filter(digest=tokens.digest(self.text))
        return Listed.of(rows)


def _orders_group(listed: Listed[Any]) -> SearchGroup:
    headings = (_("Placed"), _("Customer"), _("What"), _("Amount"), _("Status"), _("Order"))
    hits = [
        SearchHit(
            moment(order.created_at),
            page_of(order),
            (
                order.customer,
                ", ".join(map(str, order.lines.all())),
                money(order.amount, order.currency),
                order.get_status_display(),
                order.pk,
            ),
        )
        for order in listed.rows
    ]
    return SearchGroup(_("Orders"), headings, Listed(hits, listed.more))


def _records_group(listed: Listed[Record]) -> SearchGroup:
    headings = (_("Request"), _("Key"), _("Scope"), _("Request id"), _("Responded"))
    hits = [
        SearchHit(
            record,
            page_of(record),
            (record.key, record.scope, record.request_id, moment(record.created_at)),
        )
        for record in listed.rows
    ]
    return SearchGroup(_("Idempotency records"), headings, Listed(hits, listed.more))


def _requests_group(listed: Listed[Any]) -> SearchGroup:
    headings = (_("Payment request"), _("Attempts"), _("Request id"), _("Written"))
    hits = [
        SearchHit(row, page_of(row), (row.attempts, row.request_id, moment(row.created_at)))
        for row in listed.rows
    ]
    return SearchGroup(_("Payment requests"), headings, Listed(hits, listed.more))


def _payments_group(listed: Listed[Any]) -> SearchGroup:
    headings = (_("Payment"), _("Outcome"), _("Amount"), _("Made"))
    hits = [
        SearchHit(
            row.pk,
            page_of(row),
            (
                row.get_outcome_display(),
                money(row.amount, row.currency),
                moment(row.created_at),
            ),
        )
        for row in listed.rows
    ]
    return SearchGroup(_("Payments"), headings, Listed(hits, listed.more))


def _tokens_group(listed: Listed[Token]) -> SearchGroup:
    headings = (_("Token"), _("Scope"), _("Issued"), _("Expires"))
    hits = [
        SearchHit(row, page_of(row), (row.scope, moment(row.issued_at), moment(row.expires_at)))
        for row in listed.rows
    ]
    return SearchGroup(_("Tokens not used yet"), headings, Listed(hits, listed.more))
