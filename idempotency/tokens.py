"""Single-use tokens: issued before the click, consumed by the one DELETE that finds them."""

import hashlib
import secrets
from datetime import datetime

from django.utils import timezone

from idempotency import rate_limit
from idempotency.conf import setting
from idempotency.models import Token

PREFIX = "tok_"


def looks_issued(key: str) -> bool:
    """Return True if a key claims to be a token: such a key is refused unless it was issued."""
    return key.startswith(PREFIX)


def digest(token: str) -> str:
    """Return what the database stores of a token, from which nobody can derive it."""
    return hashlib.sha256(token.encode()).hexdigest()


def issue(caller_id: int) -> tuple[str, datetime]:
    """Give a caller a new token and the moment it expires; every call gives another one.

    :raises rate_limit.RateLimited: the caller was issued too many of late
    """
    limit, seconds = setting("IDEMPOTENCY_TOKEN_RATE")
    rate_limit.count(f"token:{caller_id}", limit=limit, seconds=seconds)
    token = f"{PREFIX}{secrets.token_urlsafe(32)}"
    expires_at = timezone.now() + setting("IDEMPOTENCY_TOKEN_LIFETIME")
    Token.objects.create(digest=digest(token), caller_id=caller_id, expires_at=expires_at)
    return token, expires_at
