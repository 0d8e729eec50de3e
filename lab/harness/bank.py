"""What every mechanism shares: a click, the account, and the charge that must happen once."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.db.transaction import atomic
from django.http import HttpRequest

from idempotency.failpoints import failpoint

SCHEMA = "CREATE TABLE account (id bigint PRIMARY KEY, balance bigint NOT NULL)"


@dataclass(frozen=True)
class Click:
    """A customer's click on Pay: `pay(order, account, amount)` and what the page carries with it.

    :param amount: minor units; below zero it adds to the balance, as `SET col = col + 1` does
    :param balance_after: what the page says will be left, in minor units; None: it can't know
    :param request_id: the Idempotency-Key; a repeat of the same click has the same
    :param token: what `issue` gave to the page, or empty where the mechanism issues none
    :param lease: seconds after which a lock that can expire does
    """

    order: str
    account: int
    amount: int
    balance_after: int | None
    request_id: str
    token: str
    lease: float
    http: HttpRequest | None = None


class Refused(Exception):
    """The click was told no, and why."""


def execute(sql: str, click: Click, **more: object) -> int:
    """Run a statement with the click's fields as its parameters; return how many rows it met."""
    with connection.cursor() as cursor:
        cursor.execute(sql, vars(click) | more)
        return int(cursor.rowcount)


def row(sql: str, click: Click, **more: object) -> tuple[Any, ...] | None:
    """Run a statement likewise and return its first row."""
    with connection.cursor() as cursor:
        cursor.execute(sql, vars(click) | more)
        found: tuple[Any, ...] | None = cursor.fetchone()
        return found


def charge(click: Click) -> str:
    """Take the money, whatever happened before, and return the receipt; a repeat takes it again."""
    sql = (
        "UPDATE account SET balance = balance - %(amount)s WHERE id = %(account)s RETURNING balance"
    )
    charged = row(sql, click)
    assert charged is not None
    return receipt(click.amount, charged[0])


def receipt(amount: int, left: int) -> str:
    """Return the answer to a charge. It tells the first from a second: less is left then."""
    return f"{amount} paid, {left} left"


@contextmanager
def transaction() -> Iterator[None]:
    """Commit all of the block or nothing, with a fault point on either side of the commit."""
    with atomic(durable=True):
        yield
        failpoint("before-commit")
    failpoint("after-commit")
