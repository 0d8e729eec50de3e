"""Compares orders with payments, each in a database of its own, in SQL of its own.

Both sides are streams sorted by order id, joined as they come: memory doesn't grow with the rows.

Two databases have no common snapshot, so one is read first, and it has to be the orders. A payment
commits before its order becomes paid: an order that is paid in the orders' snapshot has its payment
in the later snapshot of payments, so the skew never makes a paid order look unpaid. (The other way
round it would, with each order paid between the two.) What the skew does show is a payment whose
order was settled, or even placed, only after orders were read. Both databases are asked for their
time before either is read, so the age of such a payment is below zero, or at most as long as it
took to commit: it is in flight.

A difference is as old as the younger of its two rows, each by the clock of its own database: it
can't have been there before. The grace has to be longer than what these times can't tell: how long
a payment takes to commit, how far the clocks of servers differ, how far a replica lags.

A second payment of an order id, which UNIQUE refuses, would stand alone: as one without an order.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, LiteralString, NamedTuple, TypeVar
from uuid import UUID

import django.db
import psycopg
from django.core.exceptions import ImproperlyConfigured
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import args_row

ORDERS: LiteralString = (
    "SELECT id, status, amount, currency, account_id, updated_at FROM orders_order ORDER BY id"
)
PAYMENTS: LiteralString = (
    "SELECT order_id, outcome, amount, currency, account_id, created_at"
    " FROM payments_payment ORDER BY order_id"
)
PAYING, PAID = 1, 2
SUCCEEDED = "succeeded"

ROWS_AT_A_TIME = 2_000
KEPT = 1_000  # of each kind, the old ones and those in flight; the others are only counted

# For URLs that don't say otherwise: a server that is gone is noticed within half a minute.
PATIENCE = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}
# One side waits in its transaction while the other is read, for as long as that takes.
WITHOUT_TIMEOUTS: LiteralString = (
    "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0"
)
DJANGOS_OWN = {"context", "cursor_factory"}  # both sides are read in psycopg's own way


class Kind(Enum):
    """What a difference is; a failed order with a payment that succeeded is UNSETTLED."""

    UNPAID = "paid orders without a succeeded payment"
    UNSETTLED = "succeeded payments without a paid order"
    TERMS = "orders and payments on different terms"
    PAYING = "orders still paying"


class Order(NamedTuple):
    """An order, as the orders' side has it."""

    id: UUID
    status: int
    amount: int
    currency: str
    account_id: int | None
    updated_at: datetime


class Payment(NamedTuple):
    """A payment, as the payments' side has it."""

    order_id: UUID
    outcome: str | None
    amount: int
    currency: str
    account_id: int
    created_at: datetime


Row = TypeVar("Row", Order, Payment)
Pair = tuple[Order | None, Payment | None]


class SideUnreadable(Exception):
    """A side's database can't be read, for the reason given: one line, without passwords."""

    def __init__(self, side: str, reason: str) -> None:
        super().__init__(f"Can't read the {side}: {reason}")


@dataclass(frozen=True)
class Side:
    """The database of a side: what it is called, and how to connect to it, password included."""

    name: str
    parameters: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True)
class Connected:
    """A connection to a side, and what time it was there when it was made."""

    name: str
    connection: psycopg.Connection[Any]
    now: datetime


@dataclass(frozen=True)
class Clocks:
    """What time it was in each database before either was read."""

    orders: datetime
    payments: datetime


@dataclass(frozen=True)
class Difference:
    """Both sides of an order id that don't agree, since when, and whether that may be the skew."""

    order_id: UUID
    order: Order | None
    payment: Payment | None
    since: datetime
    age: timedelta
    in_flight: bool


@dataclass
class Tally:
    """How many differences there are, and the first of them by order id."""

    count: int = 0
    first: list[Difference] = field(default_factory=list)

    def add(self, difference: Difference) -> None:
        """Count a difference, and keep the first ones; a repeated call counts again."""
        self.count += 1
        if self.count <= KEPT:
            self.first.append(difference)


@dataclass
class Found:
    """The differences of one kind: those that count, and those that may still settle themselves."""

    old: Tally = field(default_factory=Tally)
    in_flight: Tally = field(default_factory=Tally)

    def add(self, difference: Difference) -> None:
        """Count a difference where it belongs; a repeated call counts again."""
        (self.in_flight if difference.in_flight else self.old).add(difference)

    @property
    def first(self) -> list[Difference]:
        """The first differences, those that count before those in flight."""
        return self.old.first + self.in_flight.first


@dataclass
class Report:
    """What a comparison found: the rows compared on each side, and the differences by kind."""

    grace: timedelta
    orders: int = 0
    payments: int = 0
    found: dict[Kind, Found] = field(default_factory=lambda: {kind: Found() for kind in Kind})

    @property
    def differences(self) -> int:
        """How many differences are older than the grace."""
        return sum(found.old.count for found in self.found.values())


def find_side(*, name: str, url: str | None) -> Side:
    """Return where a side is: at the URL, or <NAME>_DATABASE_URL, or in the settings' database.

    :param name: orders or payments
    :raises SideUnreadable: that is no URL of a PostgreSQL, or the settings' database can't be found
    """
    url = url or os.environ.get(f"{name.upper()}_DATABASE_URL")
    return Side(name, _parsed(name, url) if url else _from_settings(name))


def reconcile(*, orders: Side, payments: Side, grace: timedelta) -> Report:
    """Compare both sides by order id; reads only, and a repeated call compares anew.

    :param grace: a difference younger than this is in flight
    :raises SideUnreadable: a database is down, lacks the tables, or went away
    """
    with connected(orders) as ordering, connected(payments) as paying:
        clocks = Clocks(orders=ordering.now, payments=paying.now)
        # The orders' snapshot is the first; the module's docstring says why.
        with (
            snapshot(ordering, ORDERS, Order) as placed,
            snapshot(paying, PAYMENTS, Payment) as made,
        ):
            return compare(orders=placed, payments=made, clocks=clocks, grace=grace)


@contextmanager
def connected(side: Side) -> Iterator[Connected]:
    """Connect to a side and ask for its time; a repeated call makes another connection.

    :raises SideUnreadable: it can't be connected to
    """
    with _reading(side.name):
        connection = psycopg.connect(**side.parameters, autocommit=True)
    with closing(connection):
        with _reading(side.name):
            [[now]] = connection.execute("SELECT clock_timestamp()").fetchall()
        yield Connected(side.name, connection, now)


@contextmanager
def snapshot(side: Connected, query: LiteralString, row: type[Row]) -> Iterator[Iterator[Row]]:
    """Take a side's snapshot, and yield its rows as they are fetched; once for each connection.

    :raises SideUnreadable: the tables are not there; from the rows also, if the server goes away
    """
    connection = side.connection
    with _reading(side.name):
        connection.autocommit = False
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        connection.execute(WITHOUT_TIMEOUTS)
    with connection.cursor(name=side.name, row_factory=args_row(row)) as cursor:
        with _reading(side.name):
            cursor.itersize = ROWS_AT_A_TIME
            cursor.execute(query)
        yield _fetched(side.name, cursor)


def compare(
    *, orders: Iterable[Order], payments: Iterable[Payment], clocks: Clocks, grace: timedelta
) -> Report:
    """Compare rows that are sorted by order id; keeps the first differences and counts the others.

    :param grace: a difference younger than this is in flight
    """
    report = Report(grace)
    for order, payment in outer_join(orders, payments):
        report.orders += order is not None
        report.payments += payment is not None
        for kind in kinds(order, payment):
            report.found[kind].add(_difference(kind, order, payment, clocks, grace))
    return report


def outer_join(orders: Iterable[Order], payments: Iterable[Payment]) -> Iterator[Pair]:
    """Pair rows that are sorted by order id, as they come; None where a row stands alone."""
    placed, made = iter(orders), iter(payments)
    order, payment = next(placed, None), next(made, None)
    while order is not None or payment is not None:
        if payment is None or (order is not None and order.id < payment.order_id):
            yield order, None
            order = next(placed, None)
        elif order is None or payment.order_id < order.id:
            yield None, payment
            payment = next(made, None)
        else:
            yield order, payment
            order, payment = next(placed, None), next(made, None)


def kinds(order: Order | None, payment: Payment | None) -> Iterator[Kind]:
    """Yield each way in which the two sides of one order id don't agree."""
    paid = order is not None and order.status == PAID
    charged = payment is not None and payment.outcome == SUCCEEDED
    if paid and not charged:
        yield Kind.UNPAID
    if charged and not paid:
        yield Kind.UNSETTLED
    if order and payment and order.status >= PAYING and _terms(order) != _terms(payment):
        yield Kind.TERMS
    if order and order.status == PAYING:
        yield Kind.PAYING


def _terms(row: Order | Payment) -> tuple[int, str, int | None]:
    return row.amount, row.currency, row.account_id


def _difference(
    kind: Kind, order: Order | None, payment: Payment | None, clocks: Clocks, grace: timedelta
) -> Difference:
    times = []
    if order is not None:
        times.append((clocks.orders - order.updated_at, order.updated_at, order.id))
    if payment is not None and kind is not Kind.PAYING:  # that one is about the order alone
        made = payment.created_at
        times.append((clocks.payments - made, made, payment.order_id))
    age, since, order_id = min(times)
    return Difference(order_id, order, payment, since, age, in_flight=age < grace)


def _fetched(name: str, rows: Iterable[Row]) -> Iterator[Row]:
    with _reading(name):
        yield from rows


@contextmanager
def _reading(name: str) -> Iterator[None]:
    try:
        yield
    except (psycopg.Error, django.db.Error, ImproperlyConfigured) as error:
        reason = str(error).strip().partition("\n")[0]
        raise SideUnreadable(name, reason or type(error).__name__) from error


def _from_settings(name: str) -> dict[str, Any]:
    with _reading(name):
        parameters = django.db.connection.get_connection_params()
    return {key: value for key, value in parameters.items() if key not in DJANGOS_OWN}


def _parsed(name: str, url: str) -> dict[str, Any]:
    wanted = "a URL like postgres://user:password@host:5432/name, with % escapes, was expected"
    try:
        given = conninfo_to_dict(url)
    except psycopg.Error:
        raise SideUnreadable(name, wanted) from None  # libpq's own words repeat the URL
    if not url.startswith(("postgres://", "postgresql://")) or _misread(given):
        raise SideUnreadable(name, wanted)
    return {**PATIENCE, "prepare_threshold": None, **given}


def _misread(given: Mapping[str, Any]) -> bool:
    """Return whether a bare @ or / of a password broke the URL: errors would quote the pieces."""
    host, port, database = (str(given.get(part, "")) for part in ("host", "port", "dbname"))
    return "@" in host + database or not set(port) <= set("0123456789,")
