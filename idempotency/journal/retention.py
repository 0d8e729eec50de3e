"""How long journaled requests stay: JOURNAL_RETENTION, or until their scope is erased."""

from django.db import router

from idempotency.conf import conf
from idempotency.journal.models import JournaledRequest
from idempotency.purge import in_batches

DELETE_OLD = """
DELETE FROM idempotency_journal_journaledrequest WHERE id IN (
    SELECT id FROM idempotency_journal_journaledrequest
     WHERE received_at < now() - %(retention)s::interval
     LIMIT %(batch)s FOR UPDATE SKIP LOCKED)
"""


def delete_old(*, batch: int = 1000) -> int:
    """Delete what is older than JOURNAL_RETENTION, in small transactions; return how many rows."""
    using = router.db_for_write(JournaledRequest)
    values = {"retention": conf().JOURNAL_RETENTION, "batch": batch}
    return in_batches(DELETE_OLD, using, values)


def erase(scope: str) -> int:
    """Delete all rows of a scope; return how many. What a process is about to write stays."""
    deleted, _ = JournaledRequest.objects.filter(scope=scope).delete()
    return deleted
