"""Look whether the order was paid, and charge if it was not: the race that looks safe.

Source: the articles' "select + insert" (先查后插); time of check to time of use, CWE-367.
Stops: a repeat that comes after the first has committed.
Does not stop: a repeat that looks before the first has committed. Under READ COMMITTED both see an
    unpaid order, and nothing makes either of them look again.
"""

from idempotency.failpoints import failpoint
from lab.harness.bank import Click, charge, execute, row, transaction

SCHEMA = "CREATE TABLE payment (order_id text, receipt text NOT NULL)"


def pay(click: Click) -> str:
    """Charge unless the order looks paid; a repeat in time gets the first receipt."""
    with transaction():
        paid = row("SELECT receipt FROM payment WHERE order_id = %(order)s", click)
        failpoint("looked")
        if paid:
            return str(paid[0])
        receipt = charge(click)
        execute("INSERT INTO payment VALUES (%(order)s, %(receipt)s)", click, receipt=receipt)
        return receipt
