"""INSERT first and let the database refuse the second: one statement checks and acts at once.

Source: the articles' unique index (唯一索引); PostgreSQL manual, "Unique Constraints".
Stops: every second payment for an order, by whatever code wrote it, psql included.
Does not stop: two orders for one balance. And it only refuses: whoever lost the first response
    gets an error and still doesn't know what they paid.
"""

from django.db import IntegrityError

from idempotency.database_errors import violated_constraint
from idempotency.failpoints import failpoint
from lab.harness.bank import ClickRefused, PayClick, charge, execute, transaction

SCHEMA = """
CREATE TABLE payment (order_id text NOT NULL, CONSTRAINT one_payment UNIQUE (order_id))"""


def pay(click: PayClick) -> str:
    """Charge for the order once; a duplicate is refused."""
    try:
        with transaction():
            execute("INSERT INTO payment VALUES (%(order)s)", click)
            failpoint("checked")
            return charge(click)
    except IntegrityError as error:  # caught outside of the transaction, which it has ended
        if violated_constraint(error) != "one_payment":
            raise
        raise ClickRefused("this order has a payment") from None
