"""The requests about an order: which was executed, and every duplicate, from any door.

What was executed is read from the idempotency records, which are committed with their effect. The
duplicates are read from the journal, which may have lost some (`idempotency.journal`).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Self

from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import Count, Q, QuerySet

from idempotency import key_digest
from idempotency.journal.models import JournaledRequest, Outcome
from idempotency.models import Record
from orders import responses
from orders.models import Order

SHOWN_MAX = 200
FIRST_OF_THEIR_KEY = frozenset({Outcome.EXECUTED, Outcome.SUPERSEDED})


@dataclass(frozen=True)
class OrderRequest:
    """A request about an order, and its outcome.

    :ivar steps: name, rows and milliseconds of its statements, where they are journaled
    """

    at: datetime
    outcome: Outcome
    key_digest: str
    request_id: str
    milliseconds: float = 0.0
    waited_milliseconds: float = 0.0
    steps: Sequence[Any] = field(default=())

    @property
    def ends(self) -> datetime:
        return self.at + timedelta(milliseconds=self.milliseconds)

    @classmethod
    def journaled(cls, row: JournaledRequest) -> Self:
        return cls(
            row.received_at,
            Outcome(row.outcome),
            row.key_digest,
            row.request_id,
            row.milliseconds,
            row.waited_milliseconds,
            row.steps,
        )


@dataclass(frozen=True)
class OrderRequests:
    """The requests of one kind about an order: to pay it, or to place it.

    :ivar shown: the first ones, by time
    :ivar counts: of all, by outcome
    """

    shown: list[OrderRequest]
    counts: Counter[Outcome]

    @property
    def total(self) -> int:
        return self.counts.total()

    @property
    def executed(self) -> int:
        return self.counts[Outcome.EXECUTED]

    @property
    def waited(self) -> int:
        return self.counts[Outcome.WAITED]

    @property
    def replayed(self) -> int:
        return self.counts[Outcome.REPLAYED]

    @property
    def refused(self) -> int:
        return self.total - self.executed - self.waited - self.replayed

    @property
    def more(self) -> int:
        return self.total - len(self.shown)


def _staff_log(order: Order) -> QuerySet[LogEntry]:
    """Return the actions of staff on an order, oldest first."""
    of_orders = ContentType.objects.get_for_model(Order)
    logs = LogEntry.objects.filter(content_type=of_orders, object_id=str(order.pk))
    return logs.select_related("user").order_by("id")


class RequestsOf:
    """Reads the requests about an order, of its customer and of the staff who acted on it.

    A request that was shed before authentication has no scope: it counts by its key.
    """

    def __init__(self, order: Order) -> None:
        self.order = order
        self.staff_log = list(_staff_log(order))
        users = [order.customer, *(log.user for log in self.staff_log)]
        self.names = {f"user:{user.pk}": user.get_username() for user in users}  # by scope
        self.scopes = [*self.names, ""]

    @cached_property
    def records(self) -> list[Record]:
        """The records about the order, oldest first."""
        subject = responses.subject(self.order.pk)
        records = Record.objects.filter(subject=subject, scope__in=self.scopes).defer("body")
        return list(records.order_by("id")[:SHOWN_MAX])

    @cached_property
    def placing_record(self) -> Record | None:
        """The record of the request that placed the order: it is older than any transition."""
        first = self.records[0] if self.records else None
        if first is None or first.status not in {201, None}:  # None: a tombstone
            return None
        is_older = self._claimed_at is None or first.created_at <= self._claimed_at
        return first if is_older else None

    @cached_property
    def to_place(self) -> OrderRequests:
        """The requests to place the order."""
        record = self.placing_record
        rows = self._rows.filter(key_digest__in=[key_digest(record.key)] if record else [])
        executed = [] if record is None else [_recorded(record, since=self.order.created_at)]
        return _requests(executed, rows.exclude(outcome__in=FIRST_OF_THEIR_KEY), rows)

    @cached_property
    def to_pay(self) -> OrderRequests:
        """The requests to pay the order."""
        placing = self.placing_record
        paying = [record for record in self.records if record is not placing]
        rows = self._rows
        if placing:
            rows = rows.exclude(key_digest=key_digest(placing.key))
        executed = [_recorded(record, since=self._claimed_at) for record in paying[:1]]
        executed += [replace(_recorded(each), outcome=Outcome.SUPERSEDED) for each in paying[1:]]
        return _requests(executed, rows.exclude(outcome__in=FIRST_OF_THEIR_KEY), rows)

    @property
    def _rows(self) -> QuerySet[JournaledRequest]:
        subject = responses.subject(self.order.pk)
        digests = [key_digest(record.key) for record in self.records if record.key]
        about = Q(subject=subject) | Q(subject="", key_digest__in=digests)
        return JournaledRequest.objects.filter(about, scope__in=self.scopes)

    @cached_property
    def _claimed_at(self) -> datetime | None:
        """When the order's first transition was taken."""
        return self.order.history.order_by("id").values_list("at", flat=True).first()


def _recorded(record: Record, since: datetime | None = None) -> OrderRequest:
    """Return the request that made a record, its last statement.

    :param since: when its first one was
    """
    began = min(since or record.created_at, record.created_at)
    return OrderRequest(
        began,
        Outcome.EXECUTED,
        key_digest(record.key) if record.key else "",
        record.request_id,
        milliseconds=(record.created_at - began) / timedelta(milliseconds=1),
    )


def _requests(
    recorded: list[OrderRequest],
    duplicates: QuerySet[JournaledRequest],
    rows: QuerySet[JournaledRequest],
) -> OrderRequests:
    """Join what is recorded with what is journaled; the journal knows more of the same request."""
    counts = Counter(
        {
            Outcome(outcome): number
            for outcome, number in duplicates.values_list("outcome").annotate(Count("id"))
        }
    )
    counts.update(each.outcome for each in recorded)
    journaled = [
        OrderRequest.journaled(row) for row in rows.order_by("received_at", "id")[:SHOWN_MAX]
    ]
    known = {_name(each): each for each in journaled if each.outcome in FIRST_OF_THEIR_KEY}
    merged = [known.get(_name(each), each) for each in recorded]
    merged += [each for each in journaled if each.outcome not in FIRST_OF_THEIR_KEY]
    return OrderRequests(sorted(merged, key=lambda each: each.at)[:SHOWN_MAX], counts)


def _name(request: OrderRequest) -> tuple[str, str]:
    return request.key_digest, request.request_id
