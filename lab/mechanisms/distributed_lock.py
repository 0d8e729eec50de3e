"""A lock in Redis with an owner and an expiry, and a fencing token that outlives the lock.

Source: the articles' distributed lock (分布式锁, SET NX PX and an owner's check in Lua); Kleppmann,
    "How to do distributed locking", 2016, for the fence.
Stops: every race on the account, across machines. The lock only orders the queue; what decides is
    the fence: an owner who outlived the expiry finds a newer one in the database and is refused.
Does not stop: waiting out the expiry after a crash, or whoever doesn't ask for lock and fence.
"""

import time
from uuid import uuid4

from idempotency.failpoints import failpoint
from lab.harness.bank import ClickRefused, PayClick, execute, receipt, row, transaction
from lab.harness.store import PREFIX, client

SCHEMA = """
ALTER TABLE account ADD fence bigint NOT NULL DEFAULT 0;
CREATE TABLE payment (order_id text, receipt text NOT NULL)"""

# In one step: an owner who stalled between the two would get the newest fence late.
ACQUIRE = """
return redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) and redis.call('INCR', KEYS[2])"""
RELEASE = "return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('DEL', KEYS[1])"

RAISE_FENCE = "UPDATE account SET fence = %(fence)s WHERE id = %(account)s AND fence < %(fence)s"
CHARGE = """
UPDATE account SET balance = balance - %(amount)s
 WHERE id = %(account)s AND fence = %(fence)s AND balance >= %(amount)s RETURNING balance"""


def pay(click: PayClick) -> str:
    """Charge for the order once; a duplicate waits its turn and gets the first receipt."""
    lock, owner, ms = f"{PREFIX}lock:{click.account}", uuid4().hex, int(1000 * click.lease_seconds)
    for _ in range(1000):
        if fence := client().eval(ACQUIRE, 2, lock, f"{PREFIX}fence", owner, ms):
            break
        failpoint("waiting")
        time.sleep(0.02)
    else:
        raise ClickRefused("the account is busy")
    try:
        return _charge(click, fence)
    finally:
        client().eval(RELEASE, 1, lock, owner)


def _charge(click: PayClick, fence: int) -> str:
    execute(RAISE_FENCE, click, fence=fence)  # from here on an older owner can't charge
    paid = row("SELECT receipt FROM payment WHERE order_id = %(order)s", click)
    failpoint("checked")
    if paid:
        return str(paid[0])
    with transaction():
        charged = row(CHARGE, click, fence=fence)
        if charged is None:
            raise ClickRefused("not enough money, or another owner took over when the lock expired")
        result = receipt(click.amount, charged[0])
        execute("INSERT INTO payment VALUES (%(order)s, %(receipt)s)", click, receipt=result)
        return result
