"""Order and payment in two databases: first both prepare, then both commit (two-phase commit).

Source: Gray, "Notes on Data Base Operating Systems", 1978; PostgreSQL manual, "PREPARE
    TRANSACTION"; what microservices meet as the distributed transaction (分布式事务, XA).
Stops: a charge without its order, and an order without its charge, wherever the process is killed:
    `resolve` commits the charge if the order has committed, and else rolls back what is prepared.
Does not stop: any duplicate: it is another transaction, which commits on both sides as well. And a
    process killed between the phases leaves its locks behind, through every restart: the account
    can't pay until somebody resolves what was prepared.
"""

from django.db import OperationalError
from django.db.transaction import atomic

from idempotency.database_errors import LOCK_NOT_AVAILABLE, sqlstate
from idempotency.failpoints import failpoint
from lab.harness.bank import ClickRefused, PayClick, charge, execute, row
from lab.harness.second_database import ORDERS, gid_prefix, new_gid

ORDERS_SCHEMA = "CREATE TABLE purchase (order_id text, receipt text NOT NULL)"

WAIT = "SELECT set_config('lock_timeout', %(wait)s, true)"
RECORD = "INSERT INTO purchase VALUES (%(order)s, %(receipt)s)"
LEFT = "SELECT array_agg(gid) FROM pg_prepared_xacts WHERE starts_with(gid, %(prefix)s)"


def pay(click: PayClick) -> str:
    """Charge and record the order, both or neither; a duplicate does both once more."""
    gid = new_gid(click.order)
    try:
        with atomic(), atomic(ORDERS):
            row(WAIT, click, wait=f"{5 * click.lease_seconds}s")  # then it gives up
            receipt = charge(click)
            execute(RECORD, click, using=ORDERS, receipt=receipt)
            execute(f"PREPARE TRANSACTION '{gid}_order'", click, using=ORDERS)
            failpoint("half-prepared")
            execute(f"PREPARE TRANSACTION '{gid}_charge'", click)
    except OperationalError as error:
        if sqlstate(error) != LOCK_NOT_AVAILABLE:
            raise
        raise ClickRefused("the account is locked by what nobody has resolved") from None
    failpoint("before-commit")
    execute(f"COMMIT PREPARED '{gid}_order'", click, using=ORDERS)  # decides for both
    failpoint("half-committed")
    execute(f"COMMIT PREPARED '{gid}_charge'", click)
    failpoint("after-commit")
    return receipt


def resolve(click: PayClick) -> str:
    """Finish what an order's dead process left prepared; a duplicate finds nothing to do."""
    (left,) = row(LEFT, click, prefix=gid_prefix(click.order)) or (None,)
    for name in sorted(left or []):  # the charge's half first: the order's half decides
        is_order, gid = name.endswith("_order"), name.rpartition("_")[0]
        verb = "ROLLBACK" if f"{gid}_order" in left else "COMMIT"
        execute(f"{verb} PREPARED '{name}'", click, using=ORDERS if is_order else "default")
    return f"{len(left or [])} resolved"
