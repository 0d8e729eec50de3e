"""The statements of a click: how they are recognised, and how a timeline describes them.

A recorder recognises the few statements of placing and paying by their form and leaves out the rest
(the session, the user). It records names, not SQL: no key and no amount.
"""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext_lazy as _

WAITED = "waited"
ADVANCE = "advance"

# In this order: the first pattern that matches a statement names it.
STATEMENTS = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"pg_try_advisory_xact_lock", "claimed"),
        (r"pg_advisory_xact_lock_shared", WAITED),
        (r"^SET LOCAL lock_timeout", "no-waiting"),
        (r'^UPDATE "orders_order" SET .*"status" =', ADVANCE),
        (r'^INSERT INTO "orders_order" ', "order-inserted"),
        (r'^INSERT INTO "orders_orderline" ', "lines-inserted"),
        (r'^UPDATE "shop_basket"', "basket-ordered"),
        (r'^INSERT INTO "orders_paymentrequest"', "outbox-written"),
        (r'^INSERT INTO "payments_payment".*ON CONFLICT', "payment-claimed"),
        (r'^UPDATE "payments_account" SET "balance"', "debited"),
        (r'^INSERT INTO "payments_entry"', "entries-written"),
        (r'^UPDATE "payments_payment" SET "outcome"', "payment-decided"),
        (r"DELETE FROM idempotency_token.*INSERT INTO idempotency_record", "token-and-response"),
        (r"INSERT INTO idempotency_record", "response-stored"),
    )
)

# The timeline shows whether these matched a row: they decide races.
CONDITIONAL = frozenset({"0→1", "1→2", "1→3", "basket-ordered", "payment-claimed", "debited"})

# What each statement attempts: a sentence, and the SQL in short.
DESCRIPTIONS: dict[str, tuple[Any, str]] = {
    "claimed": (
        _("Looked up the key, and claimed it if it was free"),
        "SELECT pg_try_advisory_xact_lock(key), stored response",
    ),
    WAITED: (
        _("Waited for the click that holds the key"),
        "SELECT pg_advisory_xact_lock_shared(key)",
    ),
    "no-waiting": (
        _("Another click for this order is in flight: continue only if no lock makes this wait"),
        "SET LOCAL lock_timeout = '1ms'",
    ),
    "0→1": (
        _("Order from submitted to paying, if it is still submitted"),
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
        _("Locked the order, if it is still paying"),
        "UPDATE order SET status = 1 WHERE status = 1",
    ),
    "order-inserted": (_("Inserted the order"), "INSERT INTO order"),
    "lines-inserted": (_("Inserted its lines, at the server's prices"), "INSERT INTO orderline"),
    "basket-ordered": (
        _("Linked the basket to the order, if it had none yet"),
        "UPDATE basket SET order = … WHERE order IS NULL",
    ),
    "outbox-written": (
        _("Wrote the payment request to the outbox"),
        "INSERT INTO paymentrequest",
    ),
    "payment-claimed": (
        _("Claimed the one payment that an order may have"),
        "INSERT INTO payment … ON CONFLICT (order_id) DO NOTHING",
    ),
    "debited": (
        _("Debited the account, if it holds enough"),
        "UPDATE account SET balance = balance - n WHERE balance >= n",
    ),
    "entries-written": (_("Inserted both legs of the movement"), "INSERT INTO entry"),
    "payment-decided": (
        _("Stored the payment's outcome"),
        "UPDATE payment SET outcome = …",
    ),
    "token-and-response": (
        _("Consumed the token and stored the response under it; all of this is one commit"),
        "DELETE FROM token; INSERT INTO record; COMMIT",
    ),
    "response-stored": (
        _("Stored the response under the key; all of this is one commit"),
        "INSERT INTO record; COMMIT",
    ),
}


@dataclass
class StatementRecorder:
    """An `execute_wrapper` that records a statement's name, rows matched and milliseconds."""

    statements: list[tuple[str, int, float]] = field(default_factory=list)

    def __call__(
        self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        started = time.perf_counter()
        try:
            return execute(sql, params, many, context)
        finally:
            if name := statement_name(sql, params):
                ms = round((time.perf_counter() - started) * 1000, 1)
                self.statements.append((name, max(0, context["cursor"].rowcount), ms))


def statement_name(sql: str, params: Sequence[Any] | None) -> str | None:
    """Return the name of a statement that places or pays, or None."""
    flat = " ".join(str(sql).split())
    name = next((name for pattern, name in STATEMENTS if pattern.search(flat)), None)
    return _transition(params) if name == ADVANCE else name


def _transition(params: Any) -> str:
    """Return the transition that a compare-and-set attempts, such as 0→1."""
    numbers = [value for value in params or () if value in range(4) and isinstance(value, int)]
    return f"{numbers[-1]}→{numbers[-2]}"
