"""A rate limit that is exact under concurrency: one atomic upsert counts and decides."""

import hashlib
import random
from typing import Any, NamedTuple

from django.db import connections

from idempotency.errors import RateLimited

COUNTERS_MAX = 32
SHARE_LEAST = 25

# The WHERE refuses the count past the limit: of any number of simultaneous callers, exactly
# `limit` get a row back. A subject's next window takes over its row.
COUNT = """
INSERT INTO idempotency_ratecount AS counter (subject, ends_at, count)
SELECT %(rate_subject)s, to_timestamp(%(rate_seconds)s * (1 + floor(
           extract(epoch FROM clock_timestamp()) / %(rate_seconds)s))), 1
ON CONFLICT (subject) DO UPDATE
   SET ends_at = greatest(counter.ends_at, excluded.ends_at),
       count = CASE WHEN counter.ends_at < excluded.ends_at THEN 1 ELSE counter.count + 1 END
 WHERE counter.ends_at < excluded.ends_at OR counter.count < %(rate_limit)s
RETURNING count
"""

# Nothing is counted where no token was consumed.
COUNT_FROM_CONSUMED = COUNT.replace("ON CONFLICT", "FROM consumed ON CONFLICT")

FULL = """
SELECT FROM idempotency_ratecount counter
 WHERE counter.subject = %(rate_subject)s::text AND counter.count >= %(rate_limit)s::int
   AND counter.ends_at > clock_timestamp()
"""

# One of several counters that is not full, by its place.
FREE = """
SELECT share.number::int
  FROM unnest(%(rate_subjects)s::text[], %(rate_limits)s::int[])
       WITH ORDINALITY AS share (subject, most, number)
 WHERE NOT EXISTS (
           SELECT FROM idempotency_ratecount counter
            WHERE counter.subject = share.subject AND counter.count >= share.most
              AND counter.ends_at > clock_timestamp())
 ORDER BY random() LIMIT 1
"""

# Seconds until the next window, which the last of those that are full begins.
FULL_FOR = """
SELECT greatest(1, max(ceil(extract(epoch FROM ends_at - clock_timestamp()))))::int
  FROM idempotency_ratecount
  JOIN unnest(%(rate_subjects)s::text[], %(rate_limits)s::int[]) AS share (subject, most)
 USING (subject)
 WHERE count >= most
"""


class Counter(NamedTuple):
    """A row of the table, and how far it may count."""

    subject: str
    limit: int


def count(subject: str, *, limit: int, seconds: int, using: str = "default") -> None:
    """Count one more act of a subject in the present window of so many seconds.

    :raises RateLimited: the window already holds `limit` acts; says when the next one begins
    """
    counter = Counter(counter_of(subject), limit)
    if not _count_in(counter, seconds=seconds, using=using):
        raise RateLimited(retry_after=full_for([counter], using=using))


def count_until_commit(subject: str, *, limit: int, seconds: int, using: str = "default") -> None:
    """Count as `count` does, in a transaction that goes on: others of the subject rarely wait.

    Several counters share the limit, so the last few acts of a window may be refused too early.

    :raises RateLimited: the window already holds `limit` acts; says when to try again
    """
    if _count_in(any_counter_of(subject, limit), seconds=seconds, using=using):
        return
    counters = counters_of(subject, limit)
    while counter := free_one(counters, using=using):
        if _count_in(counter, seconds=seconds, using=using):
            return
    raise RateLimited(retry_after=full_for(counters, using=using))


def _count_in(counter: Counter, *, seconds: int, using: str) -> bool:
    """Return True if a counter had room for one more act, which it now holds."""
    values: dict[str, Any] = {
        "rate_subject": counter.subject,
        "rate_limit": counter.limit,
        "rate_seconds": seconds,
    }
    with connections[using].cursor() as cursor:
        cursor.execute(COUNT, values)
        return cursor.fetchone() is not None


def free_one(counters: list[Counter], *, using: str) -> Counter | None:
    """Return one of these counters that is not full; None: every one is."""
    with connections[using].cursor() as cursor:
        cursor.execute(FREE, _in_arrays(counters))
        row = cursor.fetchone()
    return counters[row[0] - 1] if row else None


def full_for(counters: list[Counter], *, using: str) -> int:
    """Return how many seconds are left of the window in which all of these counters are full."""
    with connections[using].cursor() as cursor:
        cursor.execute(FULL_FOR, _in_arrays(counters))
        return int(cursor.fetchone()[0])


def _in_arrays(counters: list[Counter]) -> dict[str, Any]:
    return {
        "rate_subjects": [counter.subject for counter in counters],
        "rate_limits": [counter.limit for counter in counters],
    }


def counters_of(subject: str, limit: int) -> list[Counter]:
    """Return the counters that share a limit: of a high one several, so that few acts meet."""
    return [_share(subject, limit, place) for place in range(_how_many(limit))]


def any_counter_of(subject: str, limit: int) -> Counter:
    """Return one of `counters_of`, by chance."""
    return _share(subject, limit, random.randrange(_how_many(limit)))  # noqa: S311 - no secret


def _how_many(limit: int) -> int:
    return min(COUNTERS_MAX, max(1, limit // SHARE_LEAST))


def _share(subject: str, limit: int, place: int) -> Counter:
    share, more = divmod(limit, _how_many(limit))
    return Counter(counter_of(f"{place}:{subject}"), share + (place < more))


def counter_of(subject: str) -> str:
    """Return the name of a subject's counter: of a long one its digest, so that no two share it."""
    if len(subject) <= 255:
        return subject
    return f"{subject[:190]}#{hashlib.sha256(subject.encode()).hexdigest()}"
