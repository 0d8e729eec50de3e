"""A rate limit that is exact under concurrency: one atomic upsert counts and decides."""

import hashlib
from typing import Any, NamedTuple

from django.db import connections

from idempotency.errors import RateLimited

COUNTERS_MAX = 8
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

# One of several counters that is not full, by its place; null: all are.
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

# Seconds until the next window, where those that are full are in this one.
FULL_FOR = """
SELECT greatest(1, max(ceil(extract(epoch FROM ends_at - clock_timestamp()))))::int
  FROM idempotency_ratecount
  JOIN unnest(%(rate_subjects)s::text[], %(rate_limits)s::int[]) AS share (subject, most)
 USING (subject)
 WHERE count >= most AND ends_at > clock_timestamp()
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
    values: dict[str, str | int] = {
        "rate_subject": counter.subject,
        "rate_limit": counter.limit,
        "rate_seconds": seconds,
    }
    with connections[using].cursor() as cursor:
        cursor.execute(COUNT, values)
        if cursor.fetchone() is None:
            raise RateLimited(retry_after=full_for([counter], using=using))


def full_for(counters: list[Counter], *, using: str) -> int:
    """Return how many seconds are left of the window in which all of these counters are full."""
    values: dict[str, Any] = {
        "rate_subjects": [counter.subject for counter in counters],
        "rate_limits": [counter.limit for counter in counters],
    }
    with connections[using].cursor() as cursor:
        cursor.execute(FULL_FOR, values)
        return int(cursor.fetchone()[0])


def counters_of(subject: str, limit: int) -> list[Counter]:
    """Return the counters that share a limit: of a high one several, so that few acts meet."""
    number = min(COUNTERS_MAX, max(1, limit // SHARE_LEAST))
    share, more = divmod(limit, number)
    return [
        Counter(counter_of(f"{place}:{subject}"), share + (place < more)) for place in range(number)
    ]


def counter_of(subject: str) -> str:
    """Return the name of a subject's counter: of a long one its digest, so that no two share it."""
    if len(subject) <= 255:
        return subject
    return f"{subject[:190]}#{hashlib.sha256(subject.encode()).hexdigest()}"
