"""The dedup table's statements: look a key up while claiming it, store and replace its response."""

from typing import Any, NamedTuple

from django.db import connections
from django.http import HttpResponse

from idempotency import errors
from idempotency.conf import conf
from idempotency.stored import Stored, columns_of

# One clock decides about retention and tokens: the database's.
LOOK_UP = """
SELECT pg_try_advisory_xact_lock(%(key_lock)s), pg_try_advisory_xact_lock(%(subject_lock)s),
       EXISTS (SELECT FROM idempotency_token token
                WHERE token.digest = %(token_digest)s AND token.scope = %(scope)s
                  AND token.expires_at > now()),
       coalesce(%(key_made_at)s::timestamptz < now() - 2 * %(retention)s::interval, false),
       record.fingerprint_version, record.fingerprint_by, record.fingerprint, record.created_at,
       record.created_at > now() - %(retention)s::interval, record.status, record.content_type,
       record.headers::text, record.body
  FROM (VALUES (1)) AS always
  LEFT JOIN idempotency_record record ON record.identity = %(identity)s
"""

STORE = """
INSERT INTO idempotency_record (
    identity, scope, key, key_made_at, fingerprint_version, fingerprint_by, fingerprint,
    method, path, subject, status, content_type, headers, body, request_id)
SELECT %(identity)s, %(scope)s, %(key)s, %(key_made_at)s::timestamptz, %(fingerprint_version)s,
       %(fingerprint_by)s, %(fingerprint)s, %(method)s, %(path)s, %(subject)s, %(status)s,
       %(content_type)s, %(headers)s::jsonb, %(body)s, %(request_id)s
"""

# The DELETE takes effect once: whoever stores a response for a token has consumed that token.
CONSUME_AND_STORE = f"""
WITH consumed AS (
    DELETE FROM idempotency_token
     WHERE digest = %(token_digest)s AND scope = %(scope)s AND expires_at > now()
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

INQUIRE = """
SELECT status, created_at, created_at > now() - %(retention)s::interval
  FROM idempotency_record WHERE identity = %(identity)s
"""


class Lookup(NamedTuple):
    """What looking a key up came to: the locks that were won, and what is stored, if anything."""

    key_won: bool
    subject_won: bool
    token_usable: bool
    key_is_too_old: bool
    stored: Stored | None


def look_up(wanted: dict[str, Any], *, using: str) -> Lookup:
    """Find a scope's key and try its locks, which the transaction then holds until its end."""
    with connections[using].cursor() as cursor:
        cursor.execute(LOOK_UP, wanted | {"retention": conf().RETENTION})
        key_won, subject_won, token_usable, too_old, version, *others = cursor.fetchone()
    stored = None if version is None else Stored(version, *others)
    return Lookup(key_won, subject_won, token_usable, too_old, stored)


def store(row: dict[str, Any], response: HttpResponse, *, using: str) -> None:
    """Store a rendered response under its key for ever; consume the token where the key is one.

    :param row: the columns that the request gives: who, which key, what for
    :raises errors.TokenOvertaken: the token was consumed, or expired, after the look-up
    :raises errors.Unstorable: the response is too large
    """
    with connections[using].cursor() as cursor:
        statement = CONSUME_AND_STORE if row["token_digest"] else STORE
        cursor.execute(statement, row | columns_of(response))
        if cursor.rowcount != 1:
            raise errors.TokenOvertaken


def replace_provisional(subject: str, response: HttpResponse, *, using: str = "default") -> int:
    """Replace every provisional response (202) about a subject by the rendered final one.

    Call it in the transaction that settles the subject, once that holds the row which every 202
    about it has locked too. Returns how many were replaced; a repeated call replaces none.
    """
    with connections[using].cursor() as cursor:
        cursor.execute(REPLACE_PROVISIONAL, columns_of(response) | {"subject": subject})
        return int(cursor.rowcount)


def is_locked(lock: int, *, using: str) -> bool:
    """Return True if some transaction holds an advisory lock."""
    with connections[using].cursor() as cursor:
        cursor.execute(IS_LOCKED, {"lock": lock})
        return bool(cursor.fetchone()[0])


def inquire(identity: bytes, *, using: str) -> Any:
    """Return (status, created_at, whether it is retained) of a key's record, or None."""
    with connections[using].cursor() as cursor:
        values: dict[str, Any] = {"identity": identity, "retention": conf().RETENTION}
        cursor.execute(INQUIRE, values)
        return cursor.fetchone()
