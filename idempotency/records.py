"""The dedup table's statements: look a key up while claiming it, store and replace its response."""

import json
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connection
from django.http import HttpResponse

from idempotency import errors

STORED_HEADERS = ("Location", "Retry-After")

LOOK_UP = """
SELECT pg_try_advisory_xact_lock(%(key_lock)s), pg_try_advisory_xact_lock(%(subject_lock)s),
       EXISTS (SELECT FROM idempotency_token token
                WHERE token.digest = %(token_digest)s AND token.caller_id = %(caller)s
                  AND token.expires_at > now()),
       record.fingerprint_version, record.fingerprint, record.created_at,
       record.status, record.content_type, record.headers::text, record.body
  FROM (VALUES (1)) AS always
  LEFT JOIN idempotency_record record
    ON record.caller_id = %(caller)s AND record.key = %(key)s
"""

STORE = """
INSERT INTO idempotency_record (caller_id, key, fingerprint_version, fingerprint, method, path,
                                subject, status, content_type, headers, body, request_id)
SELECT %(caller)s, %(key)s, %(fingerprint_version)s, %(fingerprint)s, %(method)s, %(path)s,
       %(subject)s, %(status)s, %(content_type)s, %(headers)s::jsonb, %(body)s, %(request_id)s
"""

# The DELETE takes effect once: whoever stores a response for a token has consumed that token.
CONSUME_AND_STORE = f"""
WITH consumed AS (
    DELETE FROM idempotency_token
     WHERE digest = %(token_digest)s AND caller_id = %(caller)s AND expires_at > now()
 RETURNING digest)
{STORE} FROM consumed
"""  # noqa: S608 - both parts are constants

# Whoever was given a 202 gets the outcome from now on, whatever their keys.
REPLACE_PROVISIONAL = """
UPDATE idempotency_record
   SET status = %(status)s, content_type = %(content_type)s, headers = %(headers)s::jsonb,
       body = %(body)s
 WHERE subject = %(subject)s AND subject <> '' AND status = 202
"""

IS_LOCKED = """
SELECT EXISTS (
    SELECT FROM pg_locks
     WHERE locktype = 'advisory' AND objsubid = 1 AND mode = 'ExclusiveLock' AND granted
       AND (classid::bigint << 32 | objid::bigint) = %(lock)s
       AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))
"""


class Stored(NamedTuple):
    """What the dedup table holds under a key; without status and body it is a tombstone."""

    version: int
    fingerprint: str
    created_at: datetime
    status: int | None
    content_type: str
    headers: str
    body: bytes | None


class Lookup(NamedTuple):
    """What looking a key up came to: the locks that were won, and what is stored, if anything."""

    key_won: bool
    subject_won: bool
    token_usable: bool
    stored: Stored | None


def look_up(
    *, caller: int, key: str, token_digest: str | None, key_lock: int, subject_lock: int
) -> Lookup:
    """Find a caller's key and try its locks, which the transaction then holds until its end."""
    wanted: dict[str, int | str | None] = {
        "caller": caller,
        "key": key,
        "token_digest": token_digest,
        "key_lock": key_lock,
        "subject_lock": subject_lock,
    }
    with connection.cursor() as cursor:
        cursor.execute(LOOK_UP, wanted)
        key_won, subject_won, token_usable, version, *stored = cursor.fetchone()
    found = None if version is None else Stored(version, *stored)
    return Lookup(key_won, subject_won, token_usable, found)


def store(row: dict[str, Any], response: HttpResponse) -> None:
    """Store a rendered response under its key for ever; consume the token where the key is one.

    :param row: the columns that the request gives: who, which key, what for
    :raises errors.TokenOvertaken: the token was consumed, or expired, after the look-up
    """
    with connection.cursor() as cursor:
        statement = CONSUME_AND_STORE if row["token_digest"] else STORE
        cursor.execute(statement, row | _columns_of(response))
        if cursor.rowcount != 1:
            raise errors.TokenOvertaken


def replace_provisional(subject: str, response: HttpResponse) -> int:
    """Replace every provisional response (202) about a subject by the rendered final one.

    Call it in the transaction that settles the subject, once that holds the row which every 202
    about it has locked too. Returns how many were replaced; a repeated call replaces none.
    """
    with connection.cursor() as cursor:
        cursor.execute(REPLACE_PROVISIONAL, _columns_of(response) | {"subject": subject})
        return int(cursor.rowcount)


def is_locked(lock: int) -> bool:
    """Return True if some transaction holds an advisory lock."""
    with connection.cursor() as cursor:
        cursor.execute(IS_LOCKED, {"lock": lock})
        return bool(cursor.fetchone()[0])


def _columns_of(response: HttpResponse) -> dict[str, Any]:
    return {
        "status": response.status_code,
        "content_type": response["Content-Type"],
        "headers": json.dumps({h: response[h] for h in STORED_HEADERS if h in response}),
        "body": response.content,
    }
