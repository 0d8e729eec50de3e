"""A single-use token in the memory of the process that issued it, consumed by an atomic pop.

Source: the articles' token mechanism (token 机制), for one machine (单机: a local cache).
Stops: every duplicate that reaches the same process: of any number of threads one pops the token.
Does not stop: its own refusals. A second machine knows none of the first one's tokens and refuses
    even a first click; a restart forgets them all, and who clicked before it can't pay any more.
"""

import time
from collections import Counter
from secrets import token_urlsafe
from threading import Lock

from idempotency.failpoints import failpoint
from lab.harness.bank import ClickRefused, PayClick, charge, transaction

TOKENS_PER_MINUTE_MAX = 60
_tokens: dict[tuple[int, str], bool] = {}
_issued: Counter[tuple[int, int]] = Counter()
_counting = Lock()


def issue(click: PayClick) -> str:
    """Return a new token for the account, at most so many in a minute."""
    window = click.account, int(time.time()) // 60
    with _counting:
        _issued[window] += 1
        if _issued[window] > TOKENS_PER_MINUTE_MAX:
            raise ClickRefused("too many tokens in this minute")
    token = token_urlsafe()
    _tokens[click.account, token] = True
    return token


def pay(click: PayClick) -> str:
    """Charge for a token once; a duplicate is refused."""
    if not _tokens.pop((click.account, click.token), False):
        raise ClickRefused("this token was used, or was never issued here")
    failpoint("checked")
    with transaction():
        return charge(click)
