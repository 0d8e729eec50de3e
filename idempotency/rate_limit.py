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

# Seconds until the next window, where this one is full.
FULL_FOR = """
SELECT greatest(1, ceil(extract(epoch FROM ends_at - clock_timestamp())))::int
  FROM idempotency_ratecount
 WHERE subject = %(rate_subject)s AND count >= %(rate_limit)s AND ends_at > clock_timestamp()
"""


class Counter(NamedTuple):
    """A row of the table, and how far it may count."""

    subject: str
    limit: int


def count(subject: str, *, limit: int, seconds: int, using: str = "default") -> None:
    """Count one more act of a subject in the present window of so many seconds.

    :raises RateLimited: the window already holds `limit` acts; says when the next one begins
    """
    values: dict[str, str | int] = {
        "rate_subject": counter(subject),
        "rate_limit": limit,
        "rate_seconds": seconds,
    }
    with connections[using].cursor() as cursor:
        cursor.execute(COUNT, values)
        if cursor.fetchone() is None:
            cursor.execute(FULL_FOR, values)
            (seconds_left,) = cursor.fetchone() or (1,)
            raise RateLimited(retry_after=seconds_left)


def free_one(counters: list["Counter"], *, using: str) -> "Counter | None":
    """Return one of these counters that is not full; None: every one is."""
    values: dict[str, Any] = {
        "rate_subjects": [counter.subject for counter in counters],
        "rate_limits": [counter.limit for counter in counters],
    }
    with connections[using].cursor() as cursor:
        cursor.execute(FREE, values)
        row = cursor.fetchone()
    return counters[row[0] - 1] if row else None


def full_for(counters: list["Counter"], *, using: str) -> int:
    """Return how many seconds are left of the window in which all of these counters are full."""
    left = [1]
    with connections[using].cursor() as cursor:
        for subject, limit in counters:
            cursor.execute(FULL_FOR, {"rate_subject": subject, "rate_limit": limit})
            left += cursor.fetchone() or ()
    return max(left)


def counters_of(subject: str, limit: int) -> list["Counter"]:
    """Return the counters that share a limit: of a high one several, so that few acts meet."""
    return [_counter_of(subject, limit, number) for number in range(_how_many(limit))]


def any_counter_of(subject: str, limit: int) -> "Counter":
    """Return one of `counters_of`, by chance."""
    return _counter_of(subject, limit, random.randrange(_how_many(limit)))  # noqa: S311


def _how_many(limit: int) -> int:
    return min(COUNTERS_MAX, max(1, limit // SHARE_LEAST))


def _counter_of(subject: str, limit: int, number: int) -> "Counter":
    share, more = divmod(limit, _how_many(limit))
    return Counter(counter(f"{number}:{subject}"), share + (number < more))


def counter(subject: str) -> str:
    """Return the name of a subject's counter: of a long one its digest, so that no two share it."""
    if len(subject) <= 255:
        return subject
    return f"{subject[:190]}#{hashlib.sha256(subject.encode()).hexdigest()}"
