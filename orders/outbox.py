"""The outbox: payments to request from another process, each written in its order's commit.

A relay claims a batch of what is due, sends the requests outside of any transaction, and records
what came of them. A claim belongs to the relay's database session: when that ends, by kill -9 too,
the rows are free at once. (The articles' compensating job; pattern "transactional outbox".)
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any
from uuid import UUID

from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection, transaction
from django.db.models.functions import Now

from idempotency.steps import step
from orders.models import Order, PaymentRequest
from payments.client import Payment

SILENT_SECONDS = 0.7

# The class of the advisory locks that relays hold for as long as their sessions live.
RELAYS = 18_000_606

# PostgreSQL soon ends the session of a relay whose host is gone. Keepalives alone don't: none is
# sent while a notification is on its way.
NOTICE_LOSS = """
SELECT set_config(name, value, false)
  FROM (VALUES ('tcp_keepalives_idle', '5'), ('tcp_keepalives_interval', '2'),
               ('tcp_keepalives_count', '3'), ('tcp_user_timeout', '10s')) AS own (name, value)
"""

REGISTER = """
WITH me AS (SELECT (random() * 2147483646)::int AS relay)
SELECT relay FROM me WHERE pg_try_advisory_lock(%(class)s, relay)
"""

# Not as `IN (SELECT … LIMIT)`: such a subquery may run more than once, and more rows be claimed
# than LIMIT says. FOR UPDATE looks at the state of a row once more when it has locked it.
CLAIM = """
WITH due AS (
    SELECT order_id FROM orders_paymentrequest
     WHERE settled_at IS NULL AND NOT dead_lettered AND due_at <= now()
       AND (claimed_by IS NULL OR claimed_by NOT IN (
            SELECT objid::bigint::int FROM pg_locks
             WHERE locktype = 'advisory' AND classid = %(class)s AND objsubid = 2 AND granted
               AND database = (SELECT oid FROM pg_database WHERE datname = current_database())))
     ORDER BY due_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
UPDATE orders_paymentrequest request SET claimed_by = %(relay)s, attempts = attempts + 1
  FROM due
 WHERE request.order_id = due.order_id
RETURNING request.order_id, request.body, request.request_id, request.key_digest,
          request.attempts, request.given_up_by <> ''
"""

# The first ones and the last one, however many there are.
CALLS_MAX = 20
CALLS = f"""
       calls = CASE WHEN jsonb_array_length(calls) < {CALLS_MAX} THEN calls
                    ELSE calls - {CALLS_MAX - 1} END
               || jsonb_build_object('at', now(), 'call', made.call, 'outcome', made.outcome,
                                     'error', made.error)"""

WRITE = """
INSERT INTO orders_paymentrequest (
    order_id, body, request_id, key_digest, attempts, last_error, dead_lettered)
VALUES (%(order)s, %(body)s, %(request_id)s, %(key_digest)s, 0, '', false)
"""

WAKE = "NOTIFY orders_outbox"
LISTEN = "LISTEN orders_outbox"

CLOSE = f"""
UPDATE orders_paymentrequest request
   SET response = made.response, settled_at = now(), dead_lettered = false,
       claimed_by = NULL, last_error = '', {CALLS}
  FROM unnest(%(order)s::uuid[], %(response)s::jsonb[], %(call)s::text[], %(outcome)s::text[],
              %(error)s::text[]) AS made (order_id, response, call, outcome, error)
 WHERE request.order_id = made.order_id AND settled_at IS NULL
"""  # noqa: S608 - a constant

RELEASE = f"""
UPDATE orders_paymentrequest
   SET claimed_by = NULL, last_error = %(error)s, dead_lettered = %(pause)s::interval IS NULL,
       due_at = now() + coalesce(%(pause)s::interval, '0'), {CALLS}
  FROM (VALUES (%(call)s::text, %(outcome)s::text, %(error)s::text)) AS made (call, outcome, error)
 WHERE order_id = %(order)s AND claimed_by = %(relay)s AND settled_at IS NULL
"""  # noqa: S608 - a constant


# The second column: it failed some request, or has not responded to one for a while.
OUTLOOK = """
SELECT own.settled_at IS NOT NULL,
       own.settled_at IS NULL AND EXISTS (
           SELECT FROM orders_paymentrequest
            WHERE settled_at IS NULL AND NOT dead_lettered
              AND (attempts > 1 OR last_error <> '' OR created_at < now() - %(silence)s::interval))
  FROM orders_paymentrequest own WHERE own.order_id = %(order)s
"""


class Outlook(Enum):
    """What is known of an order's payment."""

    SETTLED = "settled"
    OPEN = "open"
    SILENT = "the payment system does not respond, to others neither"


@dataclass(frozen=True)
class ClaimedRequest:
    """A payment request that a relay works on; `attempts` counts this one.

    :ivar is_given_up: the payment is to be declined
    """

    order_id: UUID
    body: bytes
    request_id: str
    key_digest: str
    attempts: int
    is_given_up: bool


@dataclass(frozen=True)
class Call:
    """A call to the payment system, and its outcome.

    :ivar name: charge, inquire or decline
    :ivar outcome: the payment's, or unknown or refused
    :ivar error: why it is unknown or refused
    """

    name: str
    outcome: str
    error: str = ""

    @property
    def as_parameters(self) -> dict[str, Any]:
        return {"call": self.name, "outcome": self.outcome, "error": self.error}


@dataclass(frozen=True)
class Result:
    """How the payment of an order was decided, and the call by which that is known."""

    order_id: UUID
    payment: Payment
    call: Call


def write(order: Order, *, customer: str, request_id: str, key_digest: str) -> None:
    """Record that an order's payment is to be requested, in the transaction of its 0→1."""
    terms = {
        "order_id": str(order.pk),
        "account_id": order.account_id,
        "amount": order.amount,
        "currency": order.currency,
        "customer": customer,
    }
    values: dict[str, Any] = {
        "order": order.pk,
        "body": json.dumps(terms).encode(),
        "request_id": request_id,
        "key_digest": key_digest,
    }
    with step("outbox-written"), connection.cursor() as cursor:
        cursor.execute(WRITE, values)
    # After the commit: a NOTIFY in it would have commits flush the log one by one. If this one is
    # lost, the relay's next poll finds the row.
    transaction.on_commit(_wake_relays, robust=True)


def _wake_relays() -> None:
    with connection.cursor() as cursor:
        cursor.execute(WAKE)


def close(results: Sequence[Result]) -> None:
    """Record the payment system's results, in the transaction that settles their orders."""
    responses = [json.dumps(asdict(each.payment), cls=DjangoJSONEncoder) for each in results]
    values: dict[str, Any] = {
        "order": [each.order_id for each in results],
        "response": responses,
        "call": [each.call.name for each in results],
        "outcome": [each.call.outcome for each in results],
        "error": [each.call.error for each in results],
    }
    with connection.cursor() as cursor:
        cursor.execute(CLOSE, values)


def outlook(order_id: UUID) -> Outlook:
    """Return whether an order's payment is settled, and else whether that is to be expected soon.

    Many requests ask this, again and again: it is one short statement.
    """
    with connection.cursor() as cursor:
        cursor.execute(OUTLOOK, {"order": order_id, "silence": f"{SILENT_SECONDS} s"})
        settled, silent = cursor.fetchone() or (False, False)
    return Outlook.SETTLED if settled else Outlook.SILENT if silent else Outlook.OPEN


def dead_lettered_among(order_ids: Collection[UUID]) -> set[UUID]:
    """Return those of the orders whose payment was refused and waits for somebody to look."""
    refused = PaymentRequest.objects.filter(pk__in=order_ids, dead_lettered=True)
    return set(refused.values_list("pk", flat=True))


def payments_of(order_ids: Collection[UUID]) -> dict[UUID, Payment]:
    """Return the payments of those of the orders that are settled."""
    rows = PaymentRequest.objects.filter(pk__in=order_ids, response__isnull=False)
    return {row.pk: Payment.parsed(row.response) for row in rows}


def register() -> int:
    """Return a number for a relay, which holds it for as long as this database session lives.

    The session is notified of every request that is written from now on.
    """
    with connection.cursor() as cursor:
        cursor.execute(NOTICE_LOSS)
        cursor.execute(LISTEN)
        while True:
            cursor.execute(REGISTER, {"class": RELAYS})
            if row := cursor.fetchone():
                return int(row[0])


def claim(*, relay: int, limit: int) -> list[ClaimedRequest]:
    """Claim a batch of up to so many requests that are due and that no living relay works on."""
    with connection.cursor() as cursor:
        cursor.execute(CLAIM, {"relay": relay, "class": RELAYS, "limit": limit})
        return [
            ClaimedRequest(order_id, bytes(body), *others)
            for order_id, body, *others in cursor.fetchall()
        ]


def reschedule(request: ClaimedRequest, call: Call, *, relay: int, seconds: float) -> None:
    """Release a request, due again after a time: its outcome is unknown."""
    _release(request, call, relay, pause=f"{seconds} s")


def dead_letter(request: ClaimedRequest, call: Call, *, relay: int) -> None:
    """Set a refused request aside: nothing is sent until somebody has looked."""
    _release(request, call, relay, pause=None)


def requeue(order_ids: Collection[UUID]) -> int:
    """Put dead-lettered requests back into the queue; a repeated call matches no row."""
    refused = PaymentRequest.objects.filter(pk__in=order_ids, dead_lettered=True)
    return refused.update(dead_lettered=False, claimed_by=None, due_at=Now())


def give_up(order_id: UUID, *, by: str, reason: str) -> bool:
    """Have a dead-lettered payment declined, which settles its order as failed.

    If it was made after all, the payment system returns that, and the order is paid. A repeated
    call matches no row and returns False.

    :param by: user name of the member of staff
    """
    refused = PaymentRequest.objects.filter(pk=order_id, dead_lettered=True)
    given_up = refused.update(
        given_up_by=by, given_up_reason=reason, dead_lettered=False, claimed_by=None, due_at=Now()
    )
    transaction.on_commit(_wake_relays, robust=True)
    return bool(given_up)


def _release(request: ClaimedRequest, call: Call, relay: int, *, pause: str | None) -> None:
    named = {"order": request.order_id, "relay": relay, "pause": pause}
    with connection.cursor() as cursor:
        cursor.execute(RELEASE, call.as_parameters | named)
