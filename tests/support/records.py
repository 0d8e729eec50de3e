"""Idempotency records that no request made."""

from typing import Any

from django.contrib.auth.models import User

from idempotency.keys import identity
from idempotency.models import Record


def make_record(user: User, key: str, **columns: Any) -> Record:
    """Make a record of a user's key; without a status and a body it is a tombstone."""
    scope = f"user:{user.pk}"
    terms = {"fingerprint_version": 1, "fingerprint": "f", "method": "POST", "path": "/"}
    return Record.objects.create(
        scope=scope, key=key, identity=identity(scope, key), **(terms | columns)
    )
