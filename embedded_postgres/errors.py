"""The one error of this package that a person has to act on."""

from django.core.exceptions import ImproperlyConfigured


class EmbeddedPostgresError(ImproperlyConfigured):
    """The embedded PostgreSQL cannot be used, for the reason given."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"The embedded PostgreSQL: {reason}\n"
            "To use another PostgreSQL, set DATABASE_URL=postgresql://user:password@host:port/name"
        )
