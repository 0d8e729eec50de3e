"""Claiming a key: one statement finds its stored response, or makes this transaction its first.

Why a try-lock and not an INSERT that waits: the key's row is written once, complete, together with
the response, so a duplicate only reads; and a duplicate that arrives while the first is running
learns so at once instead of occupying a thread until a lock times out.
"""

import hashlib
import json
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from django.http import HttpResponse

from idempotency import errors, fingerprint, keys, rate_limit, records, tokens
from idempotency.fingerprint import Content
from idempotency.rate_limit import Counter
from idempotency.stored import Stored, replay


@dataclass(frozen=True)
class Claim:
    """One request's wish to be the first with its key.

    :param scope: who the key belongs to: equal keys of two scopes never meet
    :param content: what the request is for: a duplicate is for the same
    :param subject: what it is about, such as `order:<uuid>`: of a scope's requests with one
        subject, none waits for another inside its transaction; empty: unknown before it has run
    :param rate: how many first executions the scope may commit, in how many seconds; None: any
        number
    :param using: the database that holds the effect, and so the record
    :param seen: what the caller's authentication has read of the key already (`idempotency.ahead`)
    """

    scope: str
    key: str
    content: Content = field(default_factory=Content)
    subject: str = ""
    request_id: str = ""
    using: str = "default"
    rate: tuple[int, int] | None = None
    seen: Stored | None = None

    @cached_property
    def identity(self) -> bytes:
        """What the key of this scope is stored under."""
        return keys.identity(self.scope, self.key)

    @property
    def key_digest(self) -> str:
        return keys.digest(self.key)

    @cached_property
    def key_made_at(self) -> datetime | None:
        """When the key was made, if it says so itself."""
        return tokens.made_at(self.key) or keys.made_at(self.key)

    @cached_property
    def token_digest(self) -> str | None:
        """The digest under which the key was issued, or None for a key of the caller's own."""
        return tokens.digest(self.key) if tokens.looks_issued(self.key) else None

    @property
    def key_lock(self) -> int:
        return _lock_id("key", self.scope, self.key)

    @property
    def subject_lock(self) -> int:
        return _subject_lock(self.scope, self.subject) if self.subject else self.key_lock

    @property
    def rate_subject(self) -> str:
        return f"execution:{self.scope}"

    def row(self, *, subject: str, counter: Counter | None = None) -> dict[str, Any]:
        """Return the columns that the request gives to its record, and where it is counted."""
        (version, first), *newer = fingerprint.compute(self.content).items()
        return {
            "rate_subject": counter and counter.subject,
            "rate_limit": counter and counter.limit,
            "rate_seconds": self.rate and self.rate[1],
            "identity": self.identity,
            "scope": self.scope,
            "key": self.key,
            "key_made_at": self.key_made_at,
            "token_digest": self.token_digest,
            "fingerprint_version": version,
            "fingerprint_by": self.content.by,
            "fingerprint": first,
            "newer_fingerprints": json.dumps(dict(newer)) if newer else None,
            "method": self.content.method,
            "path": self.content.path,
            "subject": subject,
            "request_id": self.request_id,
        }


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
    :param counter: where the execution is to be counted; None: the scope has no rate
    """

    busy_subject: Busy | None
    counter: Counter | None


def claim_key(claim: Claim) -> Replay | Busy | Claimed:
    """Look a key up and claim it, in the transaction that will hold it.

    :raises errors.KeyReused: the key belongs to another request
    :raises errors.KeyExpired: the response is past its retention
    :raises errors.RecordUnreadable: the stored response makes no sense
    :raises errors.TokenInvalid: the key is a token that this scope can't use
    :raises errors.ExecutionsLimited: the scope has committed too many first executions of late
    """
    counter = rate_limit.any_counter_of(claim.rate_subject, claim.rate[0]) if claim.rate else None
    wanted = {
        "rate_subject": counter and counter.subject,
        "rate_limit": counter and counter.limit,
        "identity": claim.identity,
        "scope": claim.scope,
        "key_made_at": claim.key_made_at,
        "token_digest": claim.token_digest,
        "key_lock": claim.key_lock,
        "subject_lock": claim.subject_lock,
    }
    lookup = records.look_up(wanted, using=claim.using)
    if lookup.stored is not None:
        return Replay(replay_of(claim, lookup.stored))
    if not lookup.key_won:
        return Busy(claim.key_lock)
    if lookup.key_is_too_old:  # its tombstone may be gone
        raise errors.KeyExpired
    if claim.token_digest and not lookup.token_usable:
        raise errors.TokenInvalid
    return Claimed(
        busy_subject=None if lookup.subject_won else Busy(claim.subject_lock),
        counter=_free_counter(claim) if lookup.counter_is_full else counter,
    )


def is_in_flight(*, scope: str, subject: str, using: str = "default") -> bool:
    """Return True if a scope's request about a subject is being executed now, whatever its key."""
    return records.is_locked(_subject_lock(scope, subject), using=using)


def _free_counter(claim: Claim) -> Counter:
    """Return another of the scope's counters that is not full."""
    assert claim.rate is not None
    counters = rate_limit.counters_of(claim.rate_subject, claim.rate[0])
    if free := rate_limit.free_one(counters, using=claim.using):
        return free
    left = rate_limit.full_for(counters, using=claim.using)
    raise errors.ExecutionsLimited(retry_after=left)


def replay_of(claim: Claim, stored: Stored) -> HttpResponse:
    """Return the response of a key's record again; a tombstone no longer knows it.

    :raises errors.Refusal: as `claim_key`: the record is not about this request, or past its use
    """
    if stored.body is None or not stored.is_retained:
        raise errors.KeyExpired
    same = fingerprint.matches(claim.content, stored.fingerprints)
    # Made by another function of the project's, a fingerprint that differs says nothing; one that
    # is equal does: the function has a new name.
    if same is None or (not same and stored.made_by != claim.content.by):
        raise errors.RecordUnreadable
    if not same:
        raise errors.KeyReused
    return replay(stored)


def _subject_lock(scope: str, subject: str) -> int:
    return _lock_id("subject", scope, subject)


def _lock_id(*parts: object) -> int:
    """Return a signed 64-bit advisory lock number for the parts."""
    digest = hashlib.sha256(json.dumps(["idempotency", *parts]).encode()).digest()
    return int.from_bytes(digest[:8], signed=True)
