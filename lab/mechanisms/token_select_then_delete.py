"""A token that is selected first and deleted afterwards: the articles' warning, carried out.

Source: the articles' token mechanism, "consume by deleting, never by select and then delete".
Stops: a duplicate that comes after the first has committed.
Does not stop: a double-click: every click reads the token before any deletes it, and deleting a
    row that is gone is no error.
"""

from secrets import token_urlsafe

from idempotency.failpoints import failpoint
from lab.harness.bank import ClickRefused, PayClick, charge, execute, row, transaction

SCHEMA = "CREATE TABLE token (token text PRIMARY KEY, account bigint NOT NULL)"

READ = "SELECT FROM token WHERE token = %(token)s AND account = %(account)s"


def issue(click: PayClick) -> str:
    """Return a new token for the account."""
    token = token_urlsafe()
    execute("INSERT INTO token VALUES (%(new)s, %(account)s)", click, new=token)
    return token


def pay(click: PayClick) -> str:
    """Charge for a token; a duplicate is refused, but not a concurrent one."""
    with transaction():
        if row(READ, click) is None:
            raise ClickRefused("this token was used, or was never issued")
        failpoint("checked")
        receipt = charge(click)
        execute("DELETE FROM token WHERE token = %(token)s", click)
        return receipt
