"""The refusals, as plain exceptions: which problem it is, and how a client goes on.

`outcome`, `retryable` and `same_key` tell a client what became of its request. An adapter makes a
response of them: `idempotency.problems.response` for plain Django, `idempotency.drf` for DRF.
"""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

Outcome = Literal["none", "done", "unknown"]


class Refusal(Exception):
    """A request that is not run, and gets no stored response.

    :cvar slug: the last word of the problem's type
    :cvar outcome: whether the effect took place: "none", "done" (earlier or now) or "unknown"
    :cvar same_key: whether to retry with the same key; None: no key is in play
    """

    slug: ClassVar[str] = ""
    status: ClassVar[int] = 400
    title: ClassVar["StrOrPromise"] = ""
    detail: "StrOrPromise" = ""
    outcome: ClassVar[Outcome] = "none"
    retryable: ClassVar[bool] = False
    same_key: ClassVar[bool | None] = False
    retry_after: int | None = None

    def __init__(self, detail: "StrOrPromise | None" = None) -> None:
        super().__init__(detail or self.detail)
        if detail is not None:
            self.detail = detail

    @property
    def members(self) -> dict[str, Any]:
        """The members of a problem document that are this refusal's own."""
        same_key = {} if self.same_key is None else {"same_key": self.same_key}
        return {"outcome": self.outcome, "retryable": self.retryable, **same_key}


class KeyMissing(Refusal):
    """The request has no Idempotency-Key header."""

    slug = "idempotency-key-missing"
    title = _("Idempotency key missing")
    detail = _("This request needs an Idempotency-Key header.")


class KeyInvalid(Refusal):
    """The key is malformed, or is a token that this scope can't use."""

    slug = "idempotency-key-invalid"
    title = _("Idempotency key invalid")
    detail = _("An Idempotency-Key is 1 to 255 visible ASCII characters.")


class TokenInvalid(KeyInvalid):
    """The token was never issued to this scope, or it expired before its first use."""

    detail = _("This token is unknown or has expired. Get a new one.")


class TokenOvertaken(TokenInvalid):
    """The token was consumed after the look-up: by a concurrent duplicate, or by time."""


class KeyReused(Refusal):
    """The key was used with another request; nothing ran, and its response is not shown."""

    slug = "idempotency-key-reused"
    status = 422
    title = _("Idempotency key reused")
    detail = _("This Idempotency-Key belongs to a different request. Use a new key.")


class KeyInUse(Refusal):
    """The first request with this key, or for this object, is still running."""

    slug = "idempotency-key-in-use"
    status = 409
    title = _("Idempotency key in use")
    detail = _(
        "A request with this key, or for this object, is still running. Retry with this key."
    )
    outcome = "unknown"
    retryable = True
    same_key = True
    retry_after = 1


class KeyExpired(Refusal):
    """The key was used long ago and its response is no longer stored; it is never run again."""

    slug = "idempotency-key-expired"
    status = 410
    title = _("Idempotency key expired")
    detail = _("This Idempotency-Key was used before and its response is no longer stored.")
    outcome = "done"


class RecordUnreadable(Refusal):
    """The stored response can't be understood; refused, so that nothing can run twice."""

    slug = "idempotency-record-unreadable"
    status = 500
    title = _("Idempotency record unreadable")
    detail = _("The response stored for this key can't be read. Nothing ran again.")
    outcome = "unknown"


class BodyTooDeep(Refusal):
    """The body is nested deeper than this process can walk."""

    slug = "malformed-request"
    title = _("Malformed request")
    detail = _("The request's body is nested too deeply.")


class RateLimited(Refusal):
    """The caller did this too often; `retry_after` seconds remain of the current window."""

    slug = "rate-limited"
    status = 429
    title = _("Rate limited")
    detail = _("Too many requests. Retry when the time in Retry-After has passed.")
    retryable = True
    same_key: ClassVar[bool | None] = None

    def __init__(self, retry_after: int) -> None:
        super().__init__()
        self.retry_after = retry_after


class ExecutionsLimited(RateLimited):
    """The scope has committed as many first executions as it may; this one left nothing."""

    same_key = True


class ExecutionsOvertaken(ExecutionsLimited):
    """The last of them was counted after the look-up, by concurrent requests."""


class Unauthenticated(Refusal):
    """Nobody is signed in, and no other scope was given: a key belongs to somebody."""

    slug = "not-authenticated"
    status = 401
    title = _("Not authenticated")
    detail = _("An Idempotency-Key belongs to a caller: authenticate first.")
    same_key = True


class Unstorable(Exception):
    """A bug in the view: its response can't be stored, so its effect was rolled back."""
