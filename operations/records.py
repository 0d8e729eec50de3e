"""Which order an idempotency record is about, by its subject (`orders.responses.subject`)."""

from uuid import UUID

from idempotency.models import Record

ORDER = "order:"


def order_of(record: Record) -> UUID | None:
    """Return the id of the order that a record is about, or None."""
    if not record.subject.startswith(ORDER):
        return None
    return UUID(record.subject.removeprefix(ORDER))
