"""The time that a UUIDv7 carries (RFC 9562, section 5.7): an index of ids is one of times."""

from datetime import UTC, datetime
from uuid import UUID


def made_at(identifier: UUID) -> datetime:
    """Return when an id was made."""
    return datetime.fromtimestamp((identifier.int >> 80) / 1000, UTC)


def first_at(moment: datetime) -> UUID:
    """Return the least id that is made at a time: those made since then are not below it."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)
