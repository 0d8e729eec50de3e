"""A token that is looked up first and deleted afterwards: the articles' warning, carried out.

Source: the articles' token mechanism, "consume by deleting, never by select and then delete".
Stops: a repeat that comes after the first has committed.
Does not stop: a double-click: everybody finds the token before anybody deletes it, and deleting a
    row that is gone is no error.
"""

from secrets import token_urlsafe

from idempotency.failpoints import failpoint
from lab.harness.bank import Click, Refused, charge, execute, row, transaction

SCHEMA = "CREATE TABLE token (token text PRIMARY KEY, account bigint NOT NULL)"

FIND = "SELECT FROM token WHERE token = %(token)s AND account = %(account)s"


def issue(click: Click) -> str:
    """Return a new token for the account."""
    token = token_urlsafe()
    execute("INSERT INTO token VALUES (%(new)s, %(account)s)", click, new=token)
    return token


def pay(click: Click) -> str:
    """Charge for a token; a repeated call is refused, but not a simultaneous one."""
    with transaction():
        if row(FIND, click) is None:
            raise Refused("this token was used, or was never issued")
        failpoint("looked")
        receipt = charge(click)
        execute("DELETE FROM token WHERE token = %(token)s", click)
        return receipt
