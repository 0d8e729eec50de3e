"""An order walks 0 → 1 → 2 or 3, each step a conditional UPDATE that one caller's can match.

Source: the articles' state machine (状态机幂等): at 0 or 1 the call succeeds, at 2 it fails without
    change, and the same request id gets the same response.
Stops: a second payment of the order, whatever ids, tabs and servers it comes through.
Does not stop: what has no order row to walk, such as placing the order itself twice.
"""

from idempotency.failpoints import failpoint
from lab.harness.bank import ClickRefused, PayClick, execute, receipt, row, transaction

SCHEMA = """
CREATE TABLE purchase (id text PRIMARY KEY, status int NOT NULL, request_id text, response text)"""
ORDER = "INSERT INTO purchase VALUES (%(order)s, 0)"

START = """
UPDATE purchase SET status = 1, request_id = %(request_id)s WHERE id = %(order)s AND status = 0"""
DEBIT = """
UPDATE account SET balance = balance - %(amount)s
 WHERE id = %(account)s AND balance >= %(amount)s RETURNING balance"""
SETTLE = "UPDATE purchase SET status = %(status)s, response = %(response)s WHERE id = %(order)s"


def pay(click: PayClick) -> str:
    """Pay an order that is submitted; a duplicate gets the first response."""
    with transaction():
        if execute(START, click):  # the losers wait for this row, then match nothing
            failpoint("checked")
            debited = row(DEBIT, click)
            response = receipt(click.amount, debited[0]) if debited else "not enough money"
            execute(SETTLE, click, status=2 if debited else 3, response=response)
    current = row("SELECT status, request_id, response FROM purchase WHERE id = %(order)s", click)
    if current is None:
        raise ClickRefused("there is no such order")
    status, request_id, response = current
    if status == 1:  # where another system pays, and has yet to respond
        return "pending"
    if status == 2 and request_id == click.request_id:
        return str(response)
    raise ClickRefused(response if request_id == click.request_id else "this order is settled")
