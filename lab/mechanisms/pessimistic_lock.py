"""SELECT … FOR UPDATE: lock the account's row first; then checking and acting is safe.

Source: the articles' pessimistic lock (悲观锁); PostgreSQL manual, "Row-Level Locks".
Stops: every race on the account: the others wait at the row, then read and see the payment. The
    server gives the lock up with the transaction, so a crash leaves none behind.
Does not stop: the queue. Whoever is slow, or asks another server while holding the row, holds up
    everybody who wants that account; and locks taken in two orders are a deadlock.
"""

from idempotency.failpoints import failpoint
from lab.harness.bank import ClickRefused, PayClick, charge, execute, row, transaction

SCHEMA = "CREATE TABLE payment (order_id text, receipt text NOT NULL)"


def pay(click: PayClick) -> str:
    """Charge for the order once; a duplicate waits its turn and gets the first receipt."""
    with transaction():
        account = row("SELECT balance FROM account WHERE id = %(account)s FOR UPDATE", click)
        # A statement of its own: it has to see what was committed while the first one waited.
        paid = row("SELECT receipt FROM payment WHERE order_id = %(order)s", click)
        failpoint("checked")
        if paid:
            return str(paid[0])
        if account is None or account[0] < click.amount:
            raise ClickRefused("not enough money")
        receipt = charge(click)
        execute("INSERT INTO payment VALUES (%(order)s, %(receipt)s)", click, receipt=receipt)
        return receipt
