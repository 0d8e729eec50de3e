"""The parts that every mechanism shares: the click, the account and the charge."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connection, connections
from django.db.transaction import atomic
from django.http import HttpRequest

from idempotency.failpoints import failpoint

SCHEMA = "CREATE TABLE account (id bigint PRIMARY KEY, balance bigint NOT NULL)"


@dataclass(frozen=True)
class PayClick:
    """A customer's click on Pay: `pay(order, account, amount)` and what the page sends with it.

    :param amount: minor units; below zero it adds to the balance, as `SET col = col + 1` does
    :param balance_after: the balance that the page computed, in minor units; None: it can't know
    :param request_id: the Idempotency-Key; a retry of the click has the same one
    :param token: the token that `issue` gave to the page; empty where the mechanism issues none
    :param lease_seconds: the lifetime of a lock that can expire
    """

    order: str
    account: int
    amount: int
    balance_after: int | None
    request_id: str
    token: str
    lease_seconds: float
    http: HttpRequest | None = None


class ClickRefused(Exception):
    """The mechanism refuses the click; the message is the reason."""


def execute(sql: str, click: PayClick, *, using: str = DEFAULT_DB_ALIAS, **more: object) -> int:
    """Run a statement with the click's fields as parameters; return the number of rows it met."""
    with connections[using].cursor() as cursor:
        cursor.execute(sql, vars(click) | more)
        return int(cursor.rowcount)


def row(sql: str, click: PayClick, **more: object) -> tuple[Any, ...] | None:
    """Run a statement with the click's fields as parameters; return its first row."""
    with connection.cursor() as cursor:
        cursor.execute(sql, vars(click) | more)
        first: tuple[Any, ...] | None = cursor.fetchone()
        return first


def charge(click: PayClick) -> str:
    """Take the money without any check and return the receipt; a duplicate charges again."""
    sql = (
        "UPDATE account SET balance = balance - %(amount)s WHERE id = %(account)s RETURNING balance"
    )
    charged = row(sql, click)
    assert charged is not None
    return receipt(click.amount, charged[0])


def receipt(amount: int, left: int) -> str:
    """Return the result of a charge. It shows which charge it was: a second one leaves less."""
    return f"{amount} paid, {left} left"


@contextmanager
def transaction() -> Iterator[None]:
    """Commit all of the block or nothing, with a failpoint on either side of the commit."""
    with atomic(durable=True):
        yield
        failpoint("before-commit")
    failpoint("after-commit")
