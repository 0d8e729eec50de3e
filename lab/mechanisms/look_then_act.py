"""Check whether the order was paid, and charge if it was not: the race that seems safe.

Source: the articles' "select + insert" (先查后插); check-then-act; time of check to
    time of use, CWE-367.
Stops: a duplicate that comes after the first has committed.
Does not stop: a duplicate that checks before the first has committed. Under READ COMMITTED both
    see an unpaid order, and nothing makes either of them check again.
"""

from idempotency.failpoints import failpoint
from lab.harness.bank import PayClick, charge, execute, row, transaction

SCHEMA = "CREATE TABLE payment (order_id text, receipt text NOT NULL)"


def pay(click: PayClick) -> str:
    """Charge unless the order shows as paid; a later duplicate gets the first receipt."""
    with transaction():
        paid = row("SELECT receipt FROM payment WHERE order_id = %(order)s", click)
        failpoint("checked")
        if paid:
            return str(paid[0])
        receipt = charge(click)
        execute("INSERT INTO payment VALUES (%(order)s, %(receipt)s)", click, receipt=receipt)
        return receipt
