"""Which order a record, or what was logged of one, is about: `orders.responses.subject`."""

from uuid import UUID

from idempotency.models import Record

ORDER = "order:"


def order_of(record: Record) -> UUID | None:
    """Return the id of the order that a record is about, or None."""
    return order_named(record.subject)


def order_named(subject: str) -> UUID | None:
    """Return the id of the order that a subject names, or None.

    :raises ValueError: it names one by no id
    """
    return UUID(subject.removeprefix(ORDER)) if subject.startswith(ORDER) else None
