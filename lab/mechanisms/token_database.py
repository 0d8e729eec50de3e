"""A single-use token, issued with the page and consumed by DELETE in the charge's transaction.

Source: the articles' token mechanism (token 机制: issue first, delete on use), in a database.
Stops: every repeat from the same page: of any number of DELETEs one meets the row. A crash takes
    back the consumption together with the charge.
Does not stop: a page loaded twice, which has two tokens. And a repeat is refused, whether the first
    was paid or not: the answer isn't kept.
"""

from secrets import token_urlsafe

from idempotency.failpoints import failpoint
from lab.harness.bank import Click, Refused, charge, execute, row, transaction

A_MINUTE = 60
SCHEMA = """
CREATE TABLE token (token text PRIMARY KEY, account bigint NOT NULL);
CREATE TABLE issued (account bigint, minute bigint, tokens int, PRIMARY KEY (account, minute))"""

COUNT = """
INSERT INTO issued VALUES (%(account)s, extract(epoch FROM now())::bigint / 60, 1)
    ON CONFLICT (account, minute) DO UPDATE SET tokens = issued.tokens + 1 RETURNING tokens"""
CONSUME = "DELETE FROM token WHERE token = %(token)s AND account = %(account)s"


def issue(click: Click) -> str:
    """Return a new token for the account, at most so many in a minute."""
    counted, token = row(COUNT, click), token_urlsafe()
    if counted is None or counted[0] > A_MINUTE:
        raise Refused("too many tokens in this minute")
    execute("INSERT INTO token VALUES (%(new)s, %(account)s)", click, new=token)
    return token


def pay(click: Click) -> str:
    """Charge for a token once; a repeated call is refused."""
    with transaction():
        if not execute(CONSUME, click):
            raise Refused("this token was used, or was never issued")
        failpoint("looked")
        return charge(click)
