"""A rate limit that is exact under concurrency: one atomic upsert counts and decides."""

import hashlib

from django.db import connections

from idempotency.errors import RateLimited

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

# Seconds until the next window, where this one is full.
FULL_FOR = """
SELECT greatest(1, ceil(extract(epoch FROM ends_at - clock_timestamp())))::int
  FROM idempotency_ratecount
 WHERE subject = %(rate_subject)s AND count >= %(rate_limit)s AND ends_at > clock_timestamp()
"""


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


def counter(subject: str) -> str:
    """Return the name of a subject's counter: of a long one its digest, so that no two share it."""
    if len(subject) <= 255:
        return subject
    return f"{subject[:190]}#{hashlib.sha256(subject.encode()).hexdigest()}"
