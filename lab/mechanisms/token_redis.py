"""A single-use token in Redis, consumed by GETDEL: one command that looks and deletes.

Source: the articles' token mechanism (token 机制), for many machines (分布式: Redis).
Stops: every repeat from the same page, whichever server it reaches: one GETDEL gets the token.
Does not stop: the gap between two systems. The token is gone before the charge commits, so a crash
    or a lost answer in between leaves a customer who has not paid and can't; and a Redis that comes
    back from an older snapshot accepts spent tokens again. A filter in front; the database decides.
"""

import time
from secrets import token_urlsafe

from idempotency.failpoints import failpoint
from lab.harness.bank import Click, Refused, charge, transaction
from lab.harness.store import PREFIX, client

A_MINUTE = 60
LIFETIME = 1800  # seconds


def issue(click: Click) -> str:
    """Return a new token for the account, at most so many in a minute."""
    count = f"{PREFIX}issued:{click.account}:{int(time.time()) // 60}"
    client().set(count, 0, nx=True, ex=120)
    if client().incr(count) > A_MINUTE:
        raise Refused("too many tokens in this minute")
    token = token_urlsafe()
    client().set(f"{PREFIX}token:{click.account}:{token}", 1, ex=LIFETIME)
    return token


def pay(click: Click) -> str:
    """Charge for a token once; a repeated call is refused."""
    if client().getdel(f"{PREFIX}token:{click.account}:{click.token}") is None:
        raise Refused("this token was used, has expired, or was never issued")
    failpoint("looked")
    with transaction():
        return charge(click)
