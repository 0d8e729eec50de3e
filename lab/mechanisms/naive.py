"""Charge whenever asked: `pay(account, amount)`, without an order id to recognise a duplicate by.

Source: the articles' first example, an interface before anything is done about duplicates.
Stops: nothing.
Does not stop: a double-click, a retry after a lost response, a form sent again.
"""

from lab.harness.bank import PayClick, charge, transaction


def pay(click: PayClick) -> str:
    """Charge; a duplicate charges again."""
    with transaction():
        return charge(click)
