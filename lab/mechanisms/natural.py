"""Some statements are idempotent by nature: SELECT, `SET col = 1` and DELETE; `col + 1` is not.

Source: the articles' list of what needs no care (天然幂等); RFC 9110, section 9.2.2, on PUT and
    DELETE.
Stops: duplicates, as long as nobody else writes the value: the balance that the page computed is
    set to the same value; a basket that is gone is deleted once more.
Does not stop: two who computed from the same old value: the second write undoes the first, and an
    order counts as paid that nobody paid for. A late duplicate undoes every payment since. And
    where only a change can be expressed, every duplicate of `SET col = col + 1` counts.
"""

from lab.harness.bank import PayClick, charge, execute, receipt, row, transaction

SCHEMA = "CREATE TABLE basket (order_id text)"
ORDER = "INSERT INTO basket VALUES (%(order)s)"

READ = "SELECT balance FROM account WHERE id = %(account)s"
SET = "UPDATE account SET balance = %(balance_after)s WHERE id = %(account)s"
EMPTY = "DELETE FROM basket WHERE order_id = %(order)s"


def pay(click: PayClick) -> str:
    """Set the computed balance: a duplicate sets the same. Without one, add: duplicates add too."""
    with transaction():
        if click.balance_after is None:
            return charge(click)  # SET col = col + 1
        execute(SET, click)
        execute(EMPTY, click)
        (left,) = row(READ, click) or (0,)
        return receipt(click.amount, left)
