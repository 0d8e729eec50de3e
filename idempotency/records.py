"""The dedup table's statements: look a key up while claiming it, store and replace its response."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.db import OperationalError, connections
from django.http import HttpResponse

from idempotency import errors, rate_limit
from idempotency.conf import conf, tombstone_age
from idempotency.steps import step
from idempotency.stored import Stored, columns_of

# The tombstone of a key that was made so long ago may be gone: see `purge`.
TOO_OLD = """
coalesce(%(key_made_at)s::timestamptz < greatest(
    now() - %(tombstone_age)s::interval,
    (SELECT keys_made_before FROM idempotency_horizon WHERE id = 1)), false)
"""

# What a record holds for a replay: the columns of `stored_of`.
STORED = """record.fingerprint_version, record.fingerprint, record.newer_fingerprints::text,
       record.fingerprint_by, record.retained_until > now(), record.status, record.content_type,
       record.headers::text, record.body"""
STORED_WIDTH = 9

# A demoted primary that starts again as a standby shows commits that no other server has, and that
# nobody was promised: nothing that it holds is replayed.
#
# One clock decides about retention, tokens and rates: the database's.
LOOK_UP = f"""
SELECT pg_try_advisory_xact_lock(%(key_lock)s), pg_try_advisory_xact_lock(%(subject_lock)s),
       EXISTS (SELECT FROM idempotency_token token
                WHERE token.digest = %(token_digest)s AND token.scope = %(scope)s
                  AND token.expires_at > now()),
       {TOO_OLD}, record.id IS NULL AND EXISTS ({rate_limit.FULL}), pg_is_in_recovery(), {STORED}
  FROM (VALUES (1)) AS always
  LEFT JOIN idempotency_record record ON record.identity = %(identity)s
"""  # noqa: S608 - all parts are constants

# `retained_until` is a promise: no later setting, purge or other server shortens it.
STORE = """
INSERT INTO idempotency_record (
    identity, scope, key, key_made_at, fingerprint_version, fingerprint_by, fingerprint,
    newer_fingerprints, method, path, subject, status, content_type, headers, body, request_id,
    retained_until)
SELECT %(identity)s, %(scope)s, %(key)s, %(key_made_at)s::timestamptz, %(fingerprint_version)s,
       %(fingerprint_by)s, %(fingerprint)s, %(newer_fingerprints)s::jsonb, %(method)s, %(path)s,
       %(subject)s, %(status)s, %(content_type)s, %(headers)s::jsonb, %(body)s, %(request_id)s,
       now() + %(retention)s::interval
"""

# The DELETE takes effect once: whoever stores a response for a token has consumed that token.
CONSUME = """
    DELETE FROM idempotency_token
     WHERE digest = %(token_digest)s AND scope = %(scope)s AND expires_at > now()
 RETURNING digest"""

# The counter is locked last, after the effect and the token: whoever holds it is about to commit
# and waits for nobody.
STORE_AS: dict[tuple[bool, bool], str] = {  # by (is the key a token, is the scope's rate limited)
    (False, False): STORE,
    (True, False): f"WITH consumed AS ({CONSUME}) {STORE} FROM consumed",
    (False, True): f"WITH counted AS ({rate_limit.COUNT}) {STORE} FROM counted",
    (True, True): f"WITH consumed AS ({CONSUME}), counted AS ({rate_limit.COUNT_FROM_CONSUMED}) "
    f"{STORE} FROM counted",
}

# Whoever was given a 202 gets the outcome from now on, whatever their keys.
REPLACE_PROVISIONAL = """
UPDATE idempotency_record record
   SET status = final.status, content_type = final.content_type, headers = final.headers,
       body = final.body
  FROM unnest(%(subject)s::text[], %(status)s::int[], %(content_type)s::text[],
              %(headers)s::jsonb[], %(body)s::bytea[])
       AS final (subject, status, content_type, headers, body)
 WHERE record.subject = final.subject AND record.subject <> '' AND record.status = 202
"""

IS_LOCKED = """
SELECT EXISTS (
    SELECT FROM pg_locks
     WHERE locktype = 'advisory' AND objsubid = 1 AND mode = 'ExclusiveLock' AND granted
       AND (classid::bigint << 32 | objid::bigint) = %(lock)s
       AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))
"""

INQUIRE = f"""
SELECT record.id IS NOT NULL, {TOO_OLD}, record.status, record.created_at,
       record.retained_until > now()
  FROM (VALUES (1)) AS always
  LEFT JOIN idempotency_record record ON record.identity = %(identity)s
"""  # noqa: S608 - both parts are constants


class Lookup(NamedTuple):
    """What looking a key up came to: the locks that were won, and what is stored, if anything."""

    key_won: bool
    subject_won: bool
    token_usable: bool
    key_is_too_old: bool
    counter_is_full: bool
    stored: Stored | None


class Inquiry(NamedTuple):
    """What is recorded of a key: a record, a tombstone, or nothing."""

    is_used: bool
    is_too_old: bool
    status: int | None
    created_at: datetime | None
    is_retained: bool | None


def look_up(wanted: dict[str, Any], *, using: str) -> Lookup:
    """Find a scope's key and try its locks, which the transaction then holds until its end.

    :raises OperationalError: the database is a standby
    """
    with step("claimed"), connections[using].cursor() as cursor:
        cursor.execute(LOOK_UP, wanted | {"tombstone_age": tombstone_age()})
        key_won, subject_won, usable, too_old, full, is_standby, *stored = cursor.fetchone()
    if is_standby:
        raise OperationalError("the database is a standby, which decides nothing")
    return Lookup(key_won, subject_won, usable, too_old, full, stored_of(stored))


def stored_of(columns: Sequence[Any]) -> Stored | None:
    """Return what a record holds, by the columns STORED; None: there is no record."""
    version, made, newer, *response = columns
    if version is None:
        return None
    newer_ones = {int(other): text for other, text in json.loads(newer).items()} if newer else {}
    return Stored({version: made, **newer_ones}, *response)


def store(row: dict[str, Any], response: HttpResponse, *, using: str) -> None:
    """Store a rendered response under its key for ever; consume the token where the key is one.

    :param row: the columns that the request gives: who, which key, what for
    :raises errors.TokenOvertaken: the token was consumed, or expired, after the look-up
    :raises errors.ExecutionsOvertaken: it was, or others have used up the scope's rate since then
    :raises errors.Unstorable: the response is too large
    """
    is_token, is_limited = row["token_digest"] is not None, row["rate_subject"] is not None
    values = row | columns_of(response) | {"retention": conf().RETENTION}
    name = "token-and-response" if is_token else "response-stored"
    with step(name), connections[using].cursor() as cursor:
        cursor.execute(STORE_AS[is_token, is_limited], values)
        if cursor.rowcount != 1:
            raise errors.ExecutionsOvertaken(retry_after=1) if is_limited else errors.TokenOvertaken


def replace_provisional(subject: str, response: HttpResponse, *, using: str = "default") -> int:
    """Replace every provisional response (202) about a subject by the rendered final one.

    Call it in the transaction that settles the subject, once that holds the row which every 202
    about it has locked too. Returns how many were replaced; a repeated call replaces none.
    """
    return replace_all_provisional({subject: response}, using=using)


def replace_all_provisional(
    responses: Mapping[str, HttpResponse], *, using: str = "default"
) -> int:
    """Replace as above, by the response to each subject, in one statement."""
    rows = [columns_of(response) for response in responses.values()]
    columns = ("status", "content_type", "headers", "body")
    values = {column: [row[column] for row in rows] for column in columns}
    with connections[using].cursor() as cursor:
        cursor.execute(REPLACE_PROVISIONAL, values | {"subject": list(responses)})
        return int(cursor.rowcount)


def is_locked(lock: int, *, using: str) -> bool:
    """Return True if some transaction holds an advisory lock."""
    with connections[using].cursor() as cursor:
        cursor.execute(IS_LOCKED, {"lock": lock})
        return bool(cursor.fetchone()[0])


def inquire(identity: bytes, *, using: str, key_made_at: datetime | None = None) -> Inquiry:
    """Return what is recorded of a key; changes nothing."""
    values: dict[str, Any] = {
        "identity": identity,
        "key_made_at": key_made_at,
        "tombstone_age": tombstone_age(),
    }
    with connections[using].cursor() as cursor:
        cursor.execute(INQUIRE, values)
        return Inquiry(*cursor.fetchone())
