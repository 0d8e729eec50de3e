"""Anybody may read; a write must rest on the latest version, else another was faster.

Source: the articles' optimistic lock (乐观锁, a version column); Kung and Robinson, "On Optimistic
    Methods for Concurrency Control", 1981.
Stops: every write that rests on an outdated read: a second charge, and a second order for the same
    money. Nobody waits while another thinks; only from another's UPDATE to its COMMIT.
Does not stop: the loser's extra work: it gets a conflict and has to read again by itself.
"""

from idempotency.failpoints import failpoint
from lab.harness.bank import ClickRefused, PayClick, execute, receipt, row, transaction

SCHEMA = """
ALTER TABLE account ADD version bigint NOT NULL DEFAULT 0;
CREATE TABLE payment (order_id text, receipt text NOT NULL)"""

READ = """
SELECT balance, version, payment.receipt
  FROM account LEFT JOIN payment ON order_id = %(order)s WHERE id = %(account)s"""
CHARGE = """
UPDATE account SET balance = balance - %(amount)s, version = version + 1
 WHERE id = %(account)s AND version = %(seen)s RETURNING balance"""


def pay(click: PayClick) -> str:
    """Charge if nothing changed since the read; a later call gets the first receipt."""
    with transaction():
        balance, seen, first = row(READ, click) or (0, 0, None)
        failpoint("checked")
        if first is not None:
            return str(first)
        if balance < click.amount or (charged := row(CHARGE, click, seen=seen)) is None:
            raise ClickRefused("not enough money, or somebody else was faster")
        result = receipt(click.amount, charged[0])
        execute("INSERT INTO payment VALUES (%(order)s, %(receipt)s)", click, receipt=result)
        return result
