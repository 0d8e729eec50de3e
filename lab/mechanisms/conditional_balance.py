"""Take the money and mark the order paid in one UPDATE that matches only while it is unpaid.

Source: the articles' own statement, `UPDATE … SET amount = amount - value, paystatus = 'paid' WHERE
    orderid = … AND paystatus = 'unpay'`.
Stops: every second charge for the account's open order. Check and act are one statement, and
    the loser of a race waits for the row and re-checks its WHERE.
Does not stop: paying more than there is: for that the WHERE wants `AND amount >= value` as well.
    The row has room for one open order: opening another forgets the first, money or not. And a
    duplicate learns only that nothing was done.
"""

from lab.harness.bank import ClickRefused, PayClick, receipt, row, transaction

SCHEMA = "ALTER TABLE account ADD orderid text, ADD paystatus text"
ORDER = "UPDATE account SET orderid = %(order)s, paystatus = 'unpay' WHERE id = %(account)s"

PAY = """
UPDATE account SET balance = balance - %(amount)s, paystatus = 'paid'
 WHERE orderid = %(order)s AND paystatus = 'unpay' RETURNING balance"""


def pay(click: PayClick) -> str:
    """Charge for the account's open order; a duplicate is refused."""
    with transaction():
        paid = row(PAY, click)
        if paid is None:
            raise ClickRefused("this order isn't open for payment")
        return receipt(click.amount, paid[0])
