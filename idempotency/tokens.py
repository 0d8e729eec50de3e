"""Single-use tokens: issued before the click, consumed by the one DELETE that finds them."""

import hashlib
import re
import secrets
from datetime import datetime
from typing import Any

from django.db import connections

from idempotency import keys, rate_limit
from idempotency.conf import conf

PREFIX = "tok_"
_ISSUED = re.compile(rf"{PREFIX}([0-9a-f]{{12}})_.+")  # its milliseconds since 1970, then chance

# The database's clock alone decides when a token was issued, and when it expires.
NOW = "SELECT (extract(epoch FROM now()) * 1000)::bigint"
ISSUE = """
INSERT INTO idempotency_token (digest, scope, expires_at)
VALUES (%(digest)s, %(scope)s, now() + %(lifetime)s) RETURNING expires_at
"""


def looks_issued(key: str) -> bool:
    """Return True if a key claims to be a token: such a key is refused unless it was issued."""
    return key.startswith(PREFIX)


def made_at(token: str) -> datetime | None:
    """Return when a token was issued, as it says itself; None for any other key."""
    issued = _ISSUED.fullmatch(token)
    return keys.moment(int(issued[1], 16)) if issued else None


def digest(token: str) -> str:
    """Return what the database stores of a token, from which nobody can derive it."""
    return hashlib.sha256(token.encode()).hexdigest()


def issue(scope: str, *, using: str = "default") -> tuple[str, datetime]:
    """Issue a new token to a scope and return it with its expiry; every call issues another one.

    :raises errors.RateLimited: the scope was issued too many of late
    """
    limit, seconds = conf().TOKEN_RATE
    rate_limit.count(f"token:{scope}", limit=limit, seconds=seconds, using=using)
    row: dict[str, Any] = {"scope": scope, "lifetime": conf().TOKEN_LIFETIME}
    with connections[using].cursor() as cursor:
        cursor.execute(NOW)
        (milliseconds,) = cursor.fetchone()
        token = f"{PREFIX}{milliseconds:012x}_{secrets.token_urlsafe(32)}"
        cursor.execute(ISSUE, row | {"digest": digest(token)})
        (expires_at,) = cursor.fetchone()
    return token, expires_at
