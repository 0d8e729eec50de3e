"""Claiming a key: one statement finds its stored response, or makes this transaction its first.

Why a try-lock and not an INSERT that waits: the key's row is written once, complete, together with
the response, so a duplicate only reads; and a duplicate that arrives while the first is running
learns so at once instead of occupying a thread until a lock times out.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Self

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from rest_framework.request import Request

from idempotency import errors, keys, records, tokens
from idempotency.conf import setting
from idempotency.records import Stored


@dataclass(frozen=True)
class Claim:
    """One request's wish to be the first with its key.

    :param subject: what the request is about, such as `order:<uuid>`: a caller's requests with one
        subject take turns, whatever their keys; empty: unknown before it has run
    """

    caller: int
    key: str
    fingerprint: str
    method: str
    path: str
    request_id: str
    subject: str

    @classmethod
    def of(cls, request: Request, *, subject: str = "") -> Self:
        """Read the claim off an authenticated request.

        :raises errors.KeyMissing: the request has no key
        :raises errors.KeyInvalid: this is no key
        """
        caller, key = keys.caller_of(request), keys.read_key(request)
        return cls._made(request, caller, key, body=request.data, subject=subject)

    @classmethod
    def of_form(
        cls,
        request: HttpRequest,
        key: str,
        *,
        path: str = "",
        body: Any = None,
        subject: str = "",
    ) -> Self:
        """Read the claim off a form that carries its key.

        :param path: of the API's call which the form stands for: both are then one request, and
            each is a duplicate of the other; left out: the form's own
        :param body: what the form asks for; left out: all of that is in its path
        :raises errors.KeyInvalid: this is no key
        """
        if request.user.pk is None:
            raise PermissionDenied
        key, body = keys.checked(key), body or {}
        return cls._made(request, request.user.pk, key, path=path, body=body, subject=subject)

    @classmethod
    def _made(  # noqa: PLR0913
        cls,
        request: Request | HttpRequest,
        caller: int,
        key: str,
        *,
        body: Any,
        subject: str,
        path: str = "",
    ) -> Self:
        path = path or request.path
        return cls(
            caller=caller,
            key=key,
            fingerprint=keys.fingerprint(request.method, path, body),
            method=request.method or "",
            path=path,
            request_id=getattr(request, "request_id", ""),
            subject=subject,
        )

    @property
    def key_digest(self) -> str:
        return keys.digest(self.key)

    @property
    def token_digest(self) -> str | None:
        """The digest under which the key was issued, or None for a key of the caller's own."""
        return tokens.digest(self.key) if tokens.looks_issued(self.key) else None

    @property
    def key_lock(self) -> int:
        return _lock_id("key", self.caller, self.key)

    @property
    def subject_lock(self) -> int:
        return _subject_lock(self.caller, self.subject) if self.subject else self.key_lock


@dataclass(frozen=True)
class Replay:
    """The key was used before: its stored response."""

    response: HttpResponse


@dataclass(frozen=True)
class Busy:
    """The first request is still in flight, and holds this advisory lock until it ends."""

    lock: int


@dataclass(frozen=True)
class Claimed:
    """This transaction holds the key until its end.

    :param busy_subject: the lock of another request with this subject that is in flight
    """

    busy_subject: Busy | None


def claim_key(claim: Claim) -> Replay | Busy | Claimed:
    """Look a key up and claim it, in the transaction that will hold it.

    :raises errors.KeyReused: the key belongs to another request
    :raises errors.KeyExpired: the response is past its retention
    :raises errors.RecordUnreadable: the stored response makes no sense
    :raises errors.TokenInvalid: the key is a token that this caller can't use
    """
    lookup = records.look_up(
        caller=claim.caller,
        key=claim.key,
        token_digest=claim.token_digest,
        key_lock=claim.key_lock,
        subject_lock=claim.subject_lock,
    )
    if lookup.stored is not None:
        return Replay(_replayed(claim, lookup.stored))
    if not lookup.key_won:
        return Busy(claim.key_lock)
    if claim.token_digest and not lookup.token_usable:
        raise errors.TokenInvalid
    return Claimed(None if lookup.subject_won else Busy(claim.subject_lock))


def is_in_flight(*, caller: int, subject: str) -> bool:
    """Return True if a caller's request about a subject is being executed now, whatever its key."""
    return records.is_locked(_subject_lock(caller, subject))


def _replayed(claim: Claim, stored: Stored) -> HttpResponse:
    if stored.version != keys.FINGERPRINT_VERSION:
        raise errors.RecordUnreadable
    retained_from = timezone.now() - setting("IDEMPOTENCY_RETENTION")
    if stored.status is None or stored.body is None or stored.created_at < retained_from:
        raise errors.KeyExpired
    if stored.fingerprint != claim.fingerprint:
        raise errors.KeyReused
    body = bytes(stored.body)
    if not _is_json(body):
        raise errors.RecordUnreadable
    headers = {**json.loads(stored.headers), "Idempotent-Replayed": "true"}
    return HttpResponse(body, stored.content_type, stored.status, headers=headers)


def _is_json(body: bytes) -> bool:
    try:
        json.loads(body)
    except ValueError:
        return False
    return True


def _subject_lock(caller: int, subject: str) -> int:
    return _lock_id("subject", caller, subject)


def _lock_id(*parts: object) -> int:
    """Return a signed 64-bit advisory lock number for the parts."""
    digest = hashlib.sha256(json.dumps(["idempotency", *parts]).encode()).digest()
    return int.from_bytes(digest[:8], signed=True)
