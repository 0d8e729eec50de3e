"""The database of each side: how to find it, connect to it, and read it in one snapshot."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, LiteralString, TypeVar

import django.db
import psycopg
from django.core.exceptions import ImproperlyConfigured
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import args_row

from web.database.deadlines import LONG_RESPONSE_SECONDS, Connection, response_seconds

ROWS_AT_A_TIME = 2_000
# For URLs that don't say otherwise: a server that is gone is noticed within half a minute.
TIMEOUTS = {
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

Row = TypeVar("Row", bound=tuple[Any, ...])


class SideUnreadable(Exception):
    """A side's database can't be read, for the reason given: one line, without passwords."""

    def __init__(self, side: str, reason: str) -> None:
        super().__init__(f"Can't read the {side}: {reason}")


@dataclass(frozen=True)
class Side:
    """The database of a side: its name, and how to connect to it, password included."""

    name: str
    parameters: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True)
class ConnectedSide:
    """A connection to a side, and the time of that server when it was made."""

    name: str
    connection: psycopg.Connection[Any]
    now: datetime


def find_side(*, name: str, url: str | None) -> Side:
    """Return the database of a side: the URL, or <NAME>_DATABASE_URL, or the settings' database.

    :param name: orders or payments
    :raises SideUnreadable: that is no URL of a PostgreSQL, or the settings' database can't be found
    """
    url = url or os.environ.get(f"{name.upper()}_DATABASE_URL")
    return Side(name, _parsed(name, url) if url else _from_settings(name))


def settings_side(name: str) -> Side:
    """Return the database of the settings as a side, whatever the environment names.

    :raises SideUnreadable: it can't be found
    """
    return Side(name, _from_settings(name))


@contextmanager
def connected(side: Side) -> Iterator[ConnectedSide]:
    """Connect to a side and read its time; a repeated call makes another connection.

    :raises SideUnreadable: it can't be connected to
    """
    with _reading(side.name):
        connection = Connection.connect(**side.parameters, autocommit=True)
        if response_seconds():  # a web server's, whose threads no frozen database may hold
            connection.response_seconds = LONG_RESPONSE_SECONDS
    with closing(connection):
        with _reading(side.name):
            [[now]] = connection.execute("SELECT clock_timestamp()").fetchall()
        yield ConnectedSide(side.name, connection, now)


@contextmanager
def snapshot(side: ConnectedSide, query: LiteralString, row: type[Row]) -> Iterator[Iterator[Row]]:
    """Take a side's snapshot, and yield its rows as they are fetched; once for each connection.

    :raises SideUnreadable: the tables are not there; from the rows also, if the server goes away
    """
    connection = side.connection
    with _reading(side.name):
        connection.autocommit = False
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        connection.execute(WITHOUT_TIMEOUTS)
    with connection.cursor(name=side.name, binary=True, row_factory=args_row(row)) as cursor:
        with _reading(side.name):
            cursor.itersize = ROWS_AT_A_TIME
            cursor.execute(query)
        yield _fetched(side.name, cursor)


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
    expected = "a URL like postgres://user:password@host:5432/name, with % escapes, was expected"
    try:
        parameters = conninfo_to_dict(url)
    except psycopg.Error:
        raise SideUnreadable(name, expected) from None  # libpq's own message quotes the URL
    if not url.startswith(("postgres://", "postgresql://")) or _is_misread(parameters):
        raise SideUnreadable(name, expected)
    return {**TIMEOUTS, "prepare_threshold": None, **parameters}


def _is_misread(parameters: Mapping[str, Any]) -> bool:
    """Return True if a bare @ or / in a password broke the URL: errors would quote the pieces."""
    host, port, database = (str(parameters.get(part, "")) for part in ("host", "port", "dbname"))
    return "@" in host + database or not set(port) <= set("0123456789,")
