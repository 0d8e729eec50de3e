"""The dedup table's two statements: look up a key while claiming it, and store its first answer.

Why a try-lock and not an INSERT that waits: the key's row is written once, complete, together
with the answer, so a repeat reads only; and a repeat that arrives while the first is running
learns so at once instead of occupying a thread until a lock times out.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Self

from django.core.exceptions import PermissionDenied
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from rest_framework.request import Request

from idempotency import errors, keys, tokens
from idempotency.conf import setting

STORED_HEADERS = ("Location", "Retry-After")

LOOK = """
SELECT pg_try_advisory_xact_lock(%(key_lock)s), pg_try_advisory_xact_lock(%(subject_lock)s),
       EXISTS (SELECT FROM idempotency_token token
                WHERE token.digest = %(token)s AND token.caller_id = %(caller)s
                  AND token.expires_at > now()),
       record.fingerprint_version, record.fingerprint, record.created_at,
       record.status, record.content_type, record.headers::text, record.body
  FROM (VALUES (1)) AS always
  LEFT JOIN idempotency_record record
    ON record.caller_id = %(caller)s AND record.key = %(key)s
"""

STORE = """
INSERT INTO idempotency_record (caller_id, key, fingerprint_version, fingerprint, method, path,
                                status, content_type, headers, body, request_id)
SELECT %(caller)s, %(key)s, %(fingerprint_version)s, %(fingerprint)s, %(method)s, %(path)s,
       %(status)s, %(content_type)s, %(headers)s::jsonb, %(body)s, %(request_id)s
"""

# The DELETE takes effect once: whoever stores an answer for a token has consumed that token.
CONSUME_AND_STORE = f"""
WITH consumed AS (
    DELETE FROM idempotency_token
     WHERE digest = %(token)s AND caller_id = %(caller)s AND expires_at > now()
 RETURNING digest)
{STORE} FROM consumed
"""  # noqa: S608 - both parts are constants


@dataclass(frozen=True)
class Claim:
    """One request's wish to be the first with its key."""

    caller: int
    key: str
    fingerprint: str
    method: str
    path: str
    request_id: str
    subject: str

    @classmethod
    def of(cls, request: Request, *, subject: str = "") -> Self:
        """Read the claim off an authenticated request."""
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
            either repeats the other; left out: the form's own
        :param body: what the form asks for; left out: all of that is in its path
        :raises errors.KeyInvalid: this is no key
        """
        if request.user.pk is None:
            raise PermissionDenied
        key, asked = keys.checked(key), body or {}
        return cls._made(request, request.user.pk, key, path=path, body=asked, subject=subject)

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
    def token(self) -> str | None:
        """The digest under which the key was issued, or None for a key of the caller's own."""
        return tokens.digest(self.key) if tokens.looks_issued(self.key) else None

    @property
    def key_lock(self) -> int:
        return _lock_id("key", self.caller, self.key)

    @property
    def subject_lock(self) -> int:
        """Requests of one caller for one object take turns, whatever their keys."""
        return _subject_lock(self.caller, self.subject) if self.subject else self.key_lock


def subject_of(name: str, value: object) -> str:
    """Return what requests for one object have in common."""
    return f"{name}={value}"


def _subject_lock(caller: int, subject: str) -> int:
    return _lock_id("subject", caller, subject)


def _lock_id(*parts: object) -> int:
    """Return a signed 64-bit advisory lock number for the parts."""
    digest = hashlib.sha256(json.dumps(["idempotency", *parts]).encode()).digest()
    return int.from_bytes(digest[:8], signed=True)


IN_FLIGHT = """
SELECT EXISTS (
    SELECT FROM pg_locks
     WHERE locktype = 'advisory' AND objsubid = 1 AND mode = 'ExclusiveLock' AND granted
       AND (classid::bigint << 32 | objid::bigint) = %(lock)s
       AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))
"""

# Whoever was told "accepted" is told the outcome from now on, whatever their keys.
SETTLE = """
UPDATE idempotency_record
   SET status = %(status)s, content_type = %(content_type)s, headers = %(headers)s::jsonb,
       body = %(body)s
 WHERE path = %(path)s AND status = 202
"""


def look(claim: Claim) -> HttpResponse | int | None:
    """Claim a key: return the stored answer, or the key's lock where its first is in flight.

    Otherwise the transaction now holds the key until its end: None, or the subject's lock where
    another request for the same object is in flight.

    :raises errors.KeyReused: the key belongs to another request
    :raises errors.KeyExpired: the key's answer is past its retention
    :raises errors.RecordUnreadable: the stored answer makes no sense
    :raises errors.TokenInvalid: the key is a token that this caller can't use
    """
    with connection.cursor() as cursor:
        cursor.execute(LOOK, _lookup(claim))
        key_won, subject_won, token_usable, *columns = cursor.fetchone()
    stored = Stored(*columns)
    if stored.version is not None:
        return _replay(claim, stored)
    if not key_won:
        return claim.key_lock
    if claim.token and not token_usable:
        raise errors.TokenInvalid
    return None if subject_won else claim.subject_lock


def is_in_flight(*, caller: int, subject: str) -> bool:
    """Say whether a caller's request for an object is being executed now, whatever its key."""
    with connection.cursor() as cursor:
        cursor.execute(IN_FLIGHT, {"lock": _subject_lock(caller, subject)})
        return bool(cursor.fetchone()[0])


class Stored(NamedTuple):
    """What the dedup table holds under a key; all of it is None where it holds nothing."""

    version: int | None
    fingerprint: str
    created_at: datetime
    status: int | None
    content_type: str
    headers: str
    body: bytes | None


def _lookup(claim: Claim) -> dict[str, Any]:
    return {
        "caller": claim.caller,
        "key": claim.key,
        "token": claim.token,
        "key_lock": claim.key_lock,
        "subject_lock": claim.subject_lock,
    }


def _replay(claim: Claim, stored: Stored) -> HttpResponse:
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


def store(claim: Claim, response: HttpResponse) -> None:
    """Keep a rendered answer for ever after; consume the token where the key is one.

    :raises errors.TokenOvertaken: the token was consumed, or expired, between the look and now
    """
    row = (
        _lookup(claim)
        | _answer(response)
        | {
            "fingerprint_version": keys.FINGERPRINT_VERSION,
            "fingerprint": claim.fingerprint,
            "method": claim.method,
            "path": claim.path,
            "request_id": claim.request_id,
        }
    )
    with connection.cursor() as cursor:
        cursor.execute(CONSUME_AND_STORE if claim.token else STORE, row)
        if cursor.rowcount != 1:
            raise errors.TokenOvertaken


def settle(path: str, response: HttpResponse) -> int:
    """Put a rendered final answer in the place of every provisional one (202) given on a path.

    Call it in the transaction that settles what the path names, once that holds the row which
    every 202 on the path has locked too. Returns how many were replaced; a repeat replaces none.
    """
    with connection.cursor() as cursor:
        cursor.execute(SETTLE, _answer(response) | {"path": path})
        return int(cursor.rowcount)


def _answer(response: HttpResponse) -> dict[str, Any]:
    return {
        "status": response.status_code,
        "content_type": response["Content-Type"],
        "headers": json.dumps({h: response[h] for h in STORED_HEADERS if h in response}),
        "body": response.content,
    }
