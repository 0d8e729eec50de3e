"""A single-use token in Redis, consumed by GETDEL: one command that reads and deletes.

Source: the articles' token mechanism (token 机制), for many machines (分布式: Redis).
Stops: every duplicate from the same page, whichever server it reaches: one GETDEL gets the token.
Does not stop: the gap between two systems. The token is gone before the charge commits, so a crash
    or a lost response in between leaves a customer who has not paid and can't; and a Redis restored
    from an older snapshot accepts spent tokens again. A filter in front; the database decides.
"""

import time
from secrets import token_urlsafe

from idempotency.failpoints import failpoint
from lab.harness.bank import ClickRefused, PayClick, charge, transaction
from lab.harness.store import PREFIX, client

TOKENS_PER_MINUTE_MAX = 60
LIFETIME_SECONDS = 1800


def issue(click: PayClick) -> str:
    """Return a new token for the account, at most so many in a minute."""
    count = f"{PREFIX}issued:{click.account}:{int(time.time()) // 60}"
    client().set(count, 0, nx=True, ex=120)
    if client().incr(count) > TOKENS_PER_MINUTE_MAX:
        raise ClickRefused("too many tokens in this minute")
    token = token_urlsafe()
    client().set(f"{PREFIX}token:{click.account}:{token}", 1, ex=LIFETIME_SECONDS)
    return token


def pay(click: PayClick) -> str:
    """Charge for a token once; a duplicate is refused."""
    if client().getdel(f"{PREFIX}token:{click.account}:{click.token}") is None:
        raise ClickRefused("this token was used, has expired, or was never issued")
    failpoint("checked")
    with transaction():
        return charge(click)
