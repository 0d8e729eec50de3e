"""Charge whenever asked: `pay(account, amount)`, without an order id to recognise a repeat by.

Source: the articles' first example, an interface before anything is done about repeats.
Stops: nothing.
Does not stop: a double-click, a retry after a lost answer, a form sent again.
"""

from lab.harness.bank import Click, charge, transaction


def pay(click: Click) -> str:
    """Charge; a repeated call charges again."""
    with transaction():
        return charge(click)
