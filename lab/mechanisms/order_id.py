"""`pay(order, account, amount)`: the payment table has one row for an order, with its result.

Source: the articles' improvement of the naive interface; `payments.services.pay` is this, grown up.
Stops: every duplicate for the order, from whatever tab, process or server, now or in a year; each
    gets the first result. A concurrent one waits at the unique index until the first has committed.
Does not stop: two orders for one balance, and a second order placed for the same basket.
"""

from idempotency.failpoints import failpoint
from lab.harness.bank import ClickRefused, PayClick, charge, execute, row, transaction

SCHEMA = """
CREATE TABLE payment (order_id text PRIMARY KEY, account bigint, amount bigint, receipt text)"""

CLAIM = """
INSERT INTO payment VALUES (%(order)s, %(account)s, %(amount)s) ON CONFLICT DO NOTHING"""


def pay(click: PayClick) -> str:
    """Charge for the order once; every later call returns the first receipt."""
    with transaction():
        if not execute(CLAIM, click):
            return _first_receipt(click)
        failpoint("checked")
        receipt = charge(click)
        record = "UPDATE payment SET receipt = %(receipt)s WHERE order_id = %(order)s"
        execute(record, click, receipt=receipt)
        return receipt


def _first_receipt(click: PayClick) -> str:
    first = row("SELECT account, amount, receipt FROM payment WHERE order_id = %(order)s", click)
    if first is None or first[:2] != (click.account, click.amount):
        raise ClickRefused("this order was paid from another account, or another amount")
    return str(first[2])
