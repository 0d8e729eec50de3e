"""How long journaled requests stay: JOURNAL_RETENTION, or until their scope is erased."""

from typing import Any

from django.db import connections, router

from idempotency.conf import conf
from idempotency.journal.models import JournaledRequest

DELETE_OLD = """
DELETE FROM idempotency_journal_journaledrequest WHERE id IN (
    SELECT id FROM idempotency_journal_journaledrequest
     WHERE received_at < now() - %(retention)s::interval
     LIMIT %(batch)s FOR UPDATE SKIP LOCKED)
"""


def delete_old(*, batch: int = 1000) -> int:
    """Delete what is older than JOURNAL_RETENTION, in small transactions; return how many rows."""
    values: dict[str, Any] = {"retention": conf().JOURNAL_RETENTION, "batch": batch}
    total = 0
    while True:
        with connections[router.db_for_write(JournaledRequest)].cursor() as cursor:
            cursor.execute(DELETE_OLD, values)
            if not cursor.rowcount:
                return total
            total += cursor.rowcount


def erase(scope: str) -> int:
    """Delete all rows of a scope; return how many. What a process is about to write stays."""
    deleted, _ = JournaledRequest.objects.filter(scope=scope).delete()
    return deleted
