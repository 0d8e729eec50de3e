"""Starting many at the same instant, and the naive version that every race test runs beside."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection

from idempotency.tests.support import together

__all__ = ["NaiveShop", "naive_shop", "together"]


@contextmanager
def naive_shop(balance: int) -> Iterator["NaiveShop"]:
    """A shop without any guard, in tables of its own."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE naive_account (balance bigint)")
        cursor.execute("CREATE TABLE naive_order (id int, status int)")
        cursor.execute("INSERT INTO naive_account VALUES (%s)", [balance])
    try:
        yield NaiveShop()
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE naive_account, naive_order")


class NaiveShop:
    """Look, then act: everybody looks before anybody acts, so the race is certain."""

    def place(self, order: int) -> None:
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO naive_order VALUES (%s, 0)", [order])

    def pay(self, order: int, amount: int, everybody_looked: Callable[[], Any]) -> bool:
        """Charge if the order looks unpaid and the balance looks sufficient."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT status FROM naive_order WHERE id = %s", [order])
            unpaid = cursor.fetchone()[0] == 0
            cursor.execute("SELECT balance FROM naive_account")
            covered = cursor.fetchone()[0] >= amount
            everybody_looked()
            if not (unpaid and covered):
                return False
            cursor.execute("UPDATE naive_account SET balance = balance - %s", [amount])
            cursor.execute("UPDATE naive_order SET status = 2 WHERE id = %s", [order])
            return True

    def place_once(self, order: int, everybody_looked: Callable[[], Any]) -> None:
        """Insert an order if none is there yet."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM naive_order WHERE id = %s", [order])
            missing = cursor.fetchone()[0] == 0
            everybody_looked()
            if missing:
                self.place(order)

    def count(self, order: int) -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM naive_order WHERE id = %s", [order])
            rows: int = cursor.fetchone()[0]
            return rows

    @property
    def balance(self) -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT balance FROM naive_account")
            balance: int = cursor.fetchone()[0]
            return balance
