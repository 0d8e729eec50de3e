"""The request id in a cache: Redis remembers it (`SET NX`) before the charge is made.

Source: the articles' request id with a cache (SET NX, 缓存去重); what most idempotency packages do.
Stops: every duplicate of the same request while the cache remembers its id, whichever server it
    reaches: of any number of SET NX one is the first.
Does not stop: the gap between two systems. The id is there before the charge commits, so a crash in
    between leaves a request that was never executed and is refused for ever. Deleted after the
    crash, or forgotten by the cache, the id runs again, charged or not.
"""

from idempotency.failpoints import failpoint
from lab.harness.bank import ClickRefused, PayClick, charge, transaction
from lab.harness.store import PREFIX, client

REMEMBERED_SECONDS = 86_400


def pay(click: PayClick) -> str:
    """Charge for a request id once, as long as the cache remembers it; a duplicate is refused."""
    key = f"{PREFIX}request:{click.request_id}"
    if not client().set(key, 1, nx=True, ex=REMEMBERED_SECONDS):
        raise ClickRefused("this request was handled before, or is being handled")
    failpoint("checked")
    with transaction():
        return charge(click)
