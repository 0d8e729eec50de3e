"""A single-use token, issued with the page and consumed by DELETE in the charge's transaction.

Source: the articles' token mechanism (token 机制: issue first, delete on use), in a database.
Stops: every duplicate from the same page: of any number of DELETEs one meets the row. A crash takes
    back the consumption together with the charge.
Does not stop: a page loaded twice, which has two tokens. And a duplicate is refused, whether the
    first was paid or not: the response isn't stored.
"""

from secrets import token_urlsafe

from idempotency.failpoints import failpoint
from lab.harness.bank import ClickRefused, PayClick, charge, execute, row, transaction

TOKENS_PER_MINUTE_MAX = 60
SCHEMA = """
CREATE TABLE token (token text PRIMARY KEY, account bigint NOT NULL);
CREATE TABLE issued (account bigint, minute bigint, tokens int, PRIMARY KEY (account, minute))"""

COUNT = """
INSERT INTO issued VALUES (%(account)s, extract(epoch FROM now())::bigint / 60, 1)
    ON CONFLICT (account, minute) DO UPDATE SET tokens = issued.tokens + 1 RETURNING tokens"""
CONSUME = "DELETE FROM token WHERE token = %(token)s AND account = %(account)s"


def issue(click: PayClick) -> str:
    """Return a new token for the account, at most so many in a minute."""
    counted, token = row(COUNT, click), token_urlsafe()
    if counted is None or counted[0] > TOKENS_PER_MINUTE_MAX:
        raise ClickRefused("too many tokens in this minute")
    execute("INSERT INTO token VALUES (%(new)s, %(account)s)", click, new=token)
    return token


def pay(click: PayClick) -> str:
    """Charge for a token once; a duplicate is refused."""
    with transaction():
        if not execute(CONSUME, click):
            raise ClickRefused("this token was used, or was never issued")
        failpoint("checked")
        return charge(click)
