"""The outbox: payments that another process is to be asked for, each written with its order.

A relay takes what is due, asks outside of any transaction, and writes down what came of it. Rows
are taken by a relay's session: when that ends, by kill -9 too, they are free at once.
"""

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection
from django.db.models import Q
from django.utils import timezone
from structlog.contextvars import get_contextvars

from orders.models import Order, PaymentRequest
from payments.client import Payment

SILENT_SECONDS = 0.7

# The class of the advisory locks that relays hold for as long as their sessions live.
RELAYS = 18_000_606

ENTER = """
WITH me AS (SELECT (random() * 2147483646)::int AS relay)
SELECT relay FROM me WHERE pg_try_advisory_lock(%(class)s, relay)
"""

# Not as `IN (SELECT … LIMIT)`: such a subquery may run more than once, and more be taken than asked
# for. The state is asked for again outside: a row that was closed meanwhile is not taken.
TAKE = """
WITH due AS (
    SELECT order_id FROM orders_paymentrequest
     WHERE settled_at IS NULL AND NOT parked AND due_at <= now()
       AND (taken_by IS NULL OR taken_by NOT IN (
            SELECT objid::bigint::int FROM pg_locks
             WHERE locktype = 'advisory' AND classid = %(class)s AND objsubid = 2 AND granted
               AND database = (SELECT oid FROM pg_database WHERE datname = current_database())))
     ORDER BY due_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
UPDATE orders_paymentrequest request SET taken_by = %(relay)s, attempts = attempts + 1
  FROM due
 WHERE request.order_id = due.order_id AND request.settled_at IS NULL AND NOT request.parked
RETURNING request.order_id, request.body, request.request_id, request.key_digest,
          request.attempts
"""


CLOSE = """
UPDATE orders_paymentrequest
   SET answer = %(answer)s::jsonb, settled_at = now(), parked = false, taken_by = NULL, trouble = ''
 WHERE order_id = %(order)s AND settled_at IS NULL
"""


@dataclass(frozen=True)
class Taken:
    """A request that a relay works on; `attempts` counts this one."""

    order_id: UUID
    body: bytes
    request_id: str
    key_digest: str
    attempts: int


def write(order: Order, *, customer: str) -> None:
    """Write down that an order's payment is to be asked for, in the transaction of its edge 0→1."""
    asked = {
        "order_id": str(order.pk),
        "account_id": order.account_id,
        "amount": order.amount,
        "currency": order.currency,
        "customer": customer,
    }
    context = get_contextvars()
    PaymentRequest.objects.create(
        order=order,
        body=json.dumps(asked).encode(),
        request_id=context.get("request_id", ""),
        key_digest=context.get("key_digest", ""),
    )


def close(order: Order, payment: Payment) -> None:
    """Keep the payment system's answer, in the transaction that settles the order."""
    answer = json.dumps(asdict(payment), cls=DjangoJSONEncoder)
    with connection.cursor() as cursor:
        cursor.execute(CLOSE, {"order": order.pk, "answer": answer})


def is_settled(order_id: UUID) -> bool:
    """Say whether what an order's payment came to is known."""
    return PaymentRequest.objects.filter(pk=order_id, settled_at__isnull=False).exists()


def parked_among(order_ids: Collection[UUID]) -> set[UUID]:
    """Return those of the orders whose payment was refused, and waits for somebody to look."""
    parked = PaymentRequest.objects.filter(pk__in=order_ids, parked=True, settled_at=None)
    return set(parked.values_list("pk", flat=True))


def is_silent() -> bool:
    """Say whether the payment system is: it was asked in vain, or has not answered for a while."""
    since = timezone.now() - timedelta(seconds=SILENT_SECONDS)
    waiting = PaymentRequest.objects.filter(settled_at=None, parked=False)
    return waiting.filter(Q(attempts__gt=1) | ~Q(trouble="") | Q(created_at__lt=since)).exists()


def answers(order_ids: Collection[UUID]) -> dict[UUID, Payment]:
    """Return what was answered about those of the orders that are settled."""
    rows = PaymentRequest.objects.filter(pk__in=order_ids, answer__isnull=False)
    return {row.pk: Payment.parsed(row.answer) for row in rows}


def enter() -> int:
    """Return a number for a relay, which holds it for as long as this database session lives."""
    with connection.cursor() as cursor:
        while True:
            cursor.execute(ENTER, {"class": RELAYS})
            if found := cursor.fetchone():
                return int(found[0])


def take(*, relay: int, limit: int) -> list[Taken]:
    """Take up to so many requests that are due and that no living relay works on."""
    with connection.cursor() as cursor:
        cursor.execute(TAKE, {"relay": relay, "class": RELAYS, "limit": limit})
        return [
            Taken(order_id, bytes(body), *others) for order_id, body, *others in cursor.fetchall()
        ]


def try_later(taken: Taken, *, relay: int, trouble: str, seconds: float) -> None:
    """Put a request back, due again after a time: its outcome is unknown."""
    _mine(taken, relay).update(
        taken_by=None, trouble=trouble, due_at=timezone.now() + timedelta(seconds=seconds)
    )


def park(taken: Taken, *, relay: int, trouble: str) -> None:
    """Set a request aside that was refused: nothing is sent until somebody has looked."""
    _mine(taken, relay).update(taken_by=None, trouble=trouble, parked=True)


def send_again(order_ids: Collection[UUID]) -> int:
    """Put parked requests back into the queue, as they are; a repeat finds none parked."""
    parked = PaymentRequest.objects.filter(pk__in=order_ids, parked=True)
    return parked.update(parked=False, taken_by=None, due_at=timezone.now())


def _mine(taken: Taken, relay: int) -> Any:
    return PaymentRequest.objects.filter(pk=taken.order_id, taken_by=relay, settled_at=None)
