"""What a click did in the database, statement by statement, in plain words.

A recorder knows the few statements of the way to pay by their form; what it does not know (the
session, the user) it leaves out. It keeps names, not SQL: no key, no amount.
"""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext_lazy as _

WAITED = "waited"
ADVANCE = "advance"

# In this order: the first that is found in a statement names it.
STATEMENTS = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"pg_try_advisory_xact_lock", "claimed"),
        (r"pg_advisory_xact_lock_shared", WAITED),
        (r"^SET LOCAL lock_timeout", "no-waiting"),
        (r'^UPDATE "orders_order" SET .*"status" =', ADVANCE),
        (r'^INSERT INTO "orders_order" ', "order-inserted"),
        (r'^INSERT INTO "orders_orderline" ', "lines-inserted"),
        (r'^UPDATE "shop_basket"', "basket-taken"),
        (r'^INSERT INTO "orders_paymentrequest"', "outbox-written"),
        (r'^INSERT INTO "payments_payment".*ON CONFLICT', "payment-claimed"),
        (r'^UPDATE "payments_account" SET "balance"', "debited"),
        (r'^INSERT INTO "payments_entry"', "entries-written"),
        (r'^UPDATE "payments_payment" SET "outcome"', "payment-decided"),
        (r"DELETE FROM idempotency_token.*INSERT INTO idempotency_record", "token-and-answer"),
        (r"INSERT INTO idempotency_record", "response-stored"),
    )
)

# Of these it is told whether they met a row: there races are decided.
CONDITIONAL = frozenset({"0→1", "1→2", "1→3", "basket-taken", "payment-claimed", "debited"})

# What was tried, in words and as the statement's heart.
SAID: dict[str, tuple[Any, str]] = {
    "claimed": (
        _("Looked the key up, and took hold of it if nobody had it"),
        "SELECT pg_try_advisory_xact_lock(key), stored answer",
    ),
    WAITED: (
        _("Waited for the click that holds the key"),
        "SELECT pg_advisory_xact_lock_shared(key)",
    ),
    "no-waiting": (
        _("Another click for this order is under way: go on only if that needs no waiting"),
        "SET LOCAL lock_timeout = '1ms'",
    ),
    "0→1": (
        _("Order from submitted to paying, if it still is submitted"),
        "UPDATE order SET status = 1 WHERE status = 0",
    ),
    "1→2": (
        _("Order from paying to paid"),
        "UPDATE order SET status = 2 WHERE status = 1",
    ),
    "1→3": (
        _("Order from paying to failed"),
        "UPDATE order SET status = 3 WHERE status = 1",
    ),
    "1→1": (
        _("Took hold of the order if it is still paying"),
        "UPDATE order SET status = 1 WHERE status = 1",
    ),
    "order-inserted": (_("Wrote the order"), "INSERT INTO order"),
    "lines-inserted": (_("Wrote its lines, at the server's prices"), "INSERT INTO orderline"),
    "basket-taken": (
        _("Made the basket an order, if it was none yet"),
        "UPDATE basket SET order = … WHERE order IS NULL",
    ),
    "outbox-written": (
        _("Wrote down that the payment is to be asked for"),
        "INSERT INTO paymentrequest",
    ),
    "payment-claimed": (
        _("Claimed the one payment that an order may have"),
        "INSERT INTO payment … ON CONFLICT (order_id) DO NOTHING",
    ),
    "debited": (
        _("Took the money from the account, if there is enough"),
        "UPDATE account SET balance = balance - n WHERE balance >= n",
    ),
    "entries-written": (_("Wrote both legs of the movement"), "INSERT INTO entry"),
    "payment-decided": (
        _("Wrote down how the payment went"),
        "UPDATE payment SET outcome = …",
    ),
    "token-and-answer": (
        _("Used the token up and stored the answer under it; all of this is one commit"),
        "DELETE FROM token; INSERT INTO record; COMMIT",
    ),
    "response-stored": (
        _("Stored the answer under the key; all of this is one commit"),
        "INSERT INTO record; COMMIT",
    ),
}


@dataclass
class Recorder:
    """An `execute_wrapper` that notes a statement's name, how many rows it met, and its time."""

    steps: list[tuple[str, int, float]] = field(default_factory=list)

    def __call__(
        self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        started = time.perf_counter()
        try:
            return execute(sql, params, many, context)
        finally:
            if name := named(sql, params):
                took = round((time.perf_counter() - started) * 1000, 1)
                self.steps.append((name, max(0, context["cursor"].rowcount), took))


def named(sql: str, params: Sequence[Any] | None) -> str | None:
    """Return the name of a statement that is on the way to pay, or None."""
    flat = " ".join(str(sql).split())
    name = next((name for pattern, name in STATEMENTS if pattern.search(flat)), None)
    return _edge(params) if name == ADVANCE else name


def _edge(params: Any) -> str:
    """Return the edge that a compare-and-set tries: it sets a target where a source is found."""
    numbers = [value for value in params or () if value in range(4) and isinstance(value, int)]
    return f"{numbers[-1]}→{numbers[-2]}"
