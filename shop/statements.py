"""The steps of a request, as `idempotency.steps` records them, in the words of a timeline.

A step is recorded by name: no key and no amount.
"""

from typing import Any

from django.utils.translation import gettext_lazy as _

# The timeline shows whether these matched a row: they decide races.
CONDITIONAL = frozenset({"0→1", "1→2", "1→3", "basket-ordered", "charged"})

# What each statement attempts: a sentence, and the SQL in short.
DESCRIPTIONS: dict[str, tuple[Any, str]] = {
    "claimed": (
        _("Looked up the key, and claimed it if it was free"),
        "SELECT pg_try_advisory_xact_lock(key), stored response",
    ),
    "waited": (
        _("Waited for the request that holds the key"),
        "SELECT pg_advisory_xact_lock_shared(key)",
    ),
    "no-waiting": (
        _("Another request for this order is in flight: go on only if no lock makes this wait"),
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
    "order-placed": (
        _("Inserted the order and its lines, at the server's prices"),
        "INSERT INTO order; INSERT INTO orderline",
    ),
    "basket-ordered": (
        _("Linked the basket to the order, if it had none yet"),
        "UPDATE basket SET order = … WHERE order IS NULL",
    ),
    "outbox-written": (
        _("Wrote the payment request to the outbox"),
        "INSERT INTO paymentrequest",
    ),
    "charged": (
        _("Charged the account, if the order had no payment yet and the money was there"),
        "INSERT INTO payment … ON CONFLICT (order_id) DO NOTHING; "
        "UPDATE account SET balance = balance - n WHERE balance >= n; INSERT INTO entry",
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
