"""The boundary's refusals: plain DRF exceptions, which any DRF project turns into responses.

`outcome`, `retryable` and `same_key` tell a client whether the effect took place and how to go on:
the members of the same name in a problem document (RFC 9457).
"""

from typing import Literal

from django.utils.translation import gettext_lazy as _
from rest_framework.exceptions import APIException

Outcome = Literal["none", "done", "unknown"]


class Refusal(APIException):
    """A request that the boundary does not let through."""

    outcome: Outcome = "none"
    retryable = False
    same_key: bool | None = False
    retry_after: int | None = None


class KeyMissing(Refusal):
    """The request has no Idempotency-Key header."""

    status_code = 400
    default_code = "idempotency-key-missing"
    default_detail = _("This request needs an Idempotency-Key header.")


class KeyInvalid(Refusal):
    """The key is malformed, or is a token that this caller can't use."""

    status_code = 400
    default_code = "idempotency-key-invalid"
    default_detail = _("An Idempotency-Key is 1 to 255 visible ASCII characters.")


class TokenInvalid(KeyInvalid):
    """The token was never issued to this caller, or it expired before its first use."""

    default_detail = _("This token is unknown or has expired. Get a new one.")


class TokenOvertaken(TokenInvalid):
    """The token was consumed after its lookup: by a concurrent duplicate, or by time."""


class KeyReused(Refusal):
    """The key was used with another request; nothing ran, and its response is not shown."""

    status_code = 422
    default_code = "idempotency-key-reused"
    default_detail = _("This Idempotency-Key belongs to a different request. Use a new key.")


class KeyInUse(Refusal):
    """The first request with this key, or for this object, is still running."""

    status_code = 409
    default_code = "idempotency-key-in-use"
    default_detail = _(
        "A request with this key, or for this object, is still running. Retry with this key."
    )
    outcome = "unknown"
    retryable = True
    same_key = True
    retry_after = 1


class KeyExpired(Refusal):
    """The key was used long ago and its response is no longer stored; it never runs again."""

    status_code = 410
    default_code = "idempotency-key-expired"
    default_detail = _("This Idempotency-Key was used before and its response is no longer stored.")
    outcome = "done"


class RecordUnreadable(Refusal):
    """The stored response can't be read; refused, so that nothing runs twice."""

    status_code = 500
    default_code = "idempotency-record-unreadable"
    default_detail = _("The response stored for this key can't be read. Nothing ran again.")
    outcome = "unknown"


class RateLimited(Refusal):
    """The caller exceeded the rate limit; `retry_after` seconds of the window remain."""

    status_code = 429
    default_code = "rate-limited"
    default_detail = _("Too many requests. Retry when the time in Retry-After has passed.")
    retryable = True
    same_key = None

    def __init__(self, retry_after: int) -> None:
        super().__init__()
        self.retry_after = retry_after
