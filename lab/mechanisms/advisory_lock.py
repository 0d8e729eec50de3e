"""Lock a number made of the order's id: a lock that needs no row, which the database keeps.

Source: PostgreSQL manual, "Advisory Locks"; the articles' lock on a business key (业务键加锁).
Stops: every race on the order, even before it has a row. Taken for the transaction (`xact`) it ends
    with it; the session's kind outlives it, and behind a pooler belongs to everybody.
Does not stop: whoever doesn't ask for the lock, such as other code, or psql; and two orders for one
    balance, which are two numbers. (Two orders of one number would wait for each other: no harm.)
"""

from idempotency.failpoints import failpoint
from lab.harness.bank import PayClick, charge, execute, row, transaction

SCHEMA = "CREATE TABLE payment (order_id text, receipt text NOT NULL)"

LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(%(order)s, 0))"


def pay(click: PayClick) -> str:
    """Charge for the order once; a duplicate waits its turn and gets the first receipt."""
    with transaction():
        row(LOCK, click)
        # A statement of its own: it has to see what was committed while the lock was waited for.
        paid = row("SELECT receipt FROM payment WHERE order_id = %(order)s", click)
        failpoint("checked")
        if paid:
            return str(paid[0])
        receipt = charge(click)
        execute("INSERT INTO payment VALUES (%(order)s, %(receipt)s)", click, receipt=receipt)
        return receipt
