"""What goes in time: responses past their retention, expired tokens, counters, old tombstones."""

from typing import Any

from django.db import connections

from idempotency import signals
from idempotency.conf import conf

# All of the request goes but its identity, and what it was about. Two purges share the work.
TOMBSTONE = """
WITH batch AS (
    SELECT id FROM idempotency_record
     WHERE {condition} AND body IS NOT NULL
     ORDER BY created_at LIMIT %(batch)s FOR UPDATE SKIP LOCKED)
UPDATE idempotency_record record
   SET status = NULL, body = NULL, content_type = '', headers = '{{}}', scope = '', key = '',
       method = '', path = '', subject = {subject}, request_id = ''
  FROM batch WHERE record.id = batch.id AND record.body IS NOT NULL
"""
EXPIRED = TOMBSTONE.format(condition="created_at < now() - %(retention)s", subject="record.subject")
OF_SCOPE = TOMBSTONE.format(condition="scope = %(scope)s", subject="''")

# The key of such a tombstone says itself how old it is, and is refused by that from then on.
DELETE_TOMBSTONES = """
DELETE FROM idempotency_record WHERE id IN (
    SELECT id FROM idempotency_record
     WHERE body IS NULL AND key_made_at < now() - 2 * %(retention)s
       AND created_at < now() - 2 * %(retention)s
     LIMIT %(batch)s FOR UPDATE SKIP LOCKED)
"""


def purge_records(*, batch: int = 1000, using: str = "default") -> int:
    """Turn every response past its retention into a tombstone; a repeated call finds no more."""
    purged = _in_batches(EXPIRED, using, {"retention": conf().RETENTION, "batch": batch})
    signals.purged.send_robust(sender=None, count=purged)
    return purged


def erase_scope(scope: str, *, batch: int = 1000, using: str = "default") -> int:
    """Turn all records of a scope into tombstones, and forget its tokens; its keys stay refused."""
    with connections[using].cursor() as cursor:
        cursor.execute("DELETE FROM idempotency_token WHERE scope = %s", [scope])
    return _in_batches(OF_SCOPE, using, {"scope": scope, "batch": batch})


def delete_tombstones(*, batch: int = 1000, using: str = "default") -> int:
    """Delete tombstones whose key carries its own time, after a second retention."""
    values = {"retention": conf().RETENTION, "batch": batch}
    return _in_batches(DELETE_TOMBSTONES, using, values)


def delete_expired(*, using: str = "default") -> tuple[int, int]:
    """Delete expired tokens and finished rate counts; return how many of each."""
    with connections[using].cursor() as cursor:
        cursor.execute("DELETE FROM idempotency_token WHERE expires_at < now()")
        tokens = cursor.rowcount
        cursor.execute("DELETE FROM idempotency_ratecount WHERE ends_at < now()")
        return tokens, cursor.rowcount


def _in_batches(statement: str, using: str, values: dict[str, Any]) -> int:
    """Run a statement, each time in a transaction of its own, until it matches no row."""
    total = 0
    while True:
        with connections[using].cursor() as cursor:
            cursor.execute(statement, values)
            if not cursor.rowcount:
                return total
            total += cursor.rowcount
