"""What goes in time: responses past their retention, expired tokens, counters, old tombstones."""

from typing import Any

from django.apps import apps
from django.db import connections

from idempotency import signals
from idempotency.conf import tombstone_age

# All of the request goes but its identity, and what it was about. Two purges share the work. Each
# record says itself when: the setting of the process that purges doesn't matter.
TOMBSTONE = """
WITH batch AS (
    SELECT id FROM idempotency_record
     WHERE {condition} AND body IS NOT NULL
     ORDER BY retained_until LIMIT %(batch)s FOR UPDATE SKIP LOCKED)
UPDATE idempotency_record record
   SET status = NULL, body = NULL, content_type = '', headers = '{{}}', scope = '', key = '',
       method = '', path = '', subject = {subject}, request_id = '',
       retained_until = {retained_until}
  FROM batch WHERE record.id = batch.id
"""
EXPIRED = TOMBSTONE.format(
    condition="retained_until < now()",
    subject="record.subject",
    retained_until="record.retained_until",
)
# Its promise is withdrawn in the same statement: the guard lets no response go before its time.
OF_SCOPE = TOMBSTONE.format(
    condition="scope = %(scope)s",
    subject="''",
    retained_until="least(record.retained_until, now())",
)

# From now on every server refuses the keys that were made earlier, whatever its settings, so that
# their tombstones may go. It never moves back.
RAISE_HORIZON = """
INSERT INTO idempotency_horizon AS horizon (id, keys_made_before)
VALUES (1, now() - %(tombstone_age)s::interval)
ON CONFLICT (id) DO UPDATE
   SET keys_made_before = excluded.keys_made_before
 WHERE horizon.keys_made_before < excluded.keys_made_before
"""
DELETE_TOMBSTONES = """
DELETE FROM idempotency_record WHERE id IN (
    SELECT record.id FROM idempotency_record record, idempotency_horizon
     WHERE record.body IS NULL AND record.key_made_at < keys_made_before
       AND record.created_at < keys_made_before
     LIMIT %(batch)s FOR UPDATE OF record SKIP LOCKED)
"""


def purge_records(*, batch: int = 1000, using: str = "default") -> int:
    """Turn every response past its retention into a tombstone; a repeated call finds no more."""
    purged = in_batches(EXPIRED, using, {"batch": batch})
    signals.purged.send_robust(sender=None, count=purged)
    return purged


def erase_scope(scope: str, *, batch: int = 1000, using: str = "default") -> int:
    """Turn all records of a scope into tombstones; its keys stay refused.

    Its tokens and what is journaled of it are deleted. Returns how many records it had left.
    """
    if apps.is_installed("idempotency.journal"):
        from idempotency.journal import retention  # noqa: PLC0415 - an app of its own

        retention.erase(scope)
    with connections[using].cursor() as cursor:
        cursor.execute("DELETE FROM idempotency_token WHERE scope = %s", [scope])
    return in_batches(OF_SCOPE, using, {"scope": scope, "batch": batch})


def delete_tombstones(*, batch: int = 1000, using: str = "default") -> int:
    """Delete tombstones whose key carries its own time, once that is refused everywhere."""
    values: dict[str, Any] = {"tombstone_age": tombstone_age()}
    with connections[using].cursor() as cursor:
        cursor.execute(RAISE_HORIZON, values)
    return in_batches(DELETE_TOMBSTONES, using, {"batch": batch})


def delete_expired(*, using: str = "default") -> tuple[int, int]:
    """Delete expired tokens and finished rate counts; return how many of each."""
    with connections[using].cursor() as cursor:
        cursor.execute("DELETE FROM idempotency_token WHERE expires_at < now()")
        tokens = cursor.rowcount
        cursor.execute("DELETE FROM idempotency_ratecount WHERE ends_at < now()")
        return tokens, cursor.rowcount


def delete_journaled(*, batch: int = 1000) -> int:
    """Delete what `idempotency.journal` has had for JOURNAL_RETENTION; return how many rows."""
    if not apps.is_installed("idempotency.journal"):
        return 0
    from idempotency.journal import retention  # noqa: PLC0415 - an app of its own

    return retention.delete_old(batch=batch)


def in_batches(statement: str, using: str, values: dict[str, Any]) -> int:
    """Run a statement, each time in a transaction of its own, until it matches no row."""
    total = 0
    while True:
        with connections[using].cursor() as cursor:
            cursor.execute(statement, values)
            if not cursor.rowcount:
                return total
            total += cursor.rowcount
