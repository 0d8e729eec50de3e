"""A rate limit that is exact under concurrency: one atomic upsert counts and decides."""

import hashlib

from django.db import connections

from idempotency.errors import RateLimited

# The WHERE refuses the count past the limit: of any number of simultaneous callers, exactly
# `limit` get a row back. A subject's next window takes over its row.
COUNT = """
INSERT INTO idempotency_ratecount AS counter (subject, ends_at, count)
VALUES (%(subject)s, to_timestamp(%(seconds)s * (1 + floor(
            extract(epoch FROM clock_timestamp()) / %(seconds)s))), 1)
ON CONFLICT (subject) DO UPDATE
   SET ends_at = greatest(counter.ends_at, excluded.ends_at),
       count = CASE WHEN counter.ends_at < excluded.ends_at THEN 1 ELSE counter.count + 1 END
 WHERE counter.ends_at < excluded.ends_at OR counter.count < %(limit)s
RETURNING count
"""

LEFT = """
SELECT ceil(extract(epoch FROM ends_at - clock_timestamp()))::int
  FROM idempotency_ratecount WHERE subject = %(subject)s
"""


def count(subject: str, *, limit: int, seconds: int, using: str = "default") -> None:
    """Count one more act of a subject in the present window of so many seconds.

    :raises RateLimited: the window already holds `limit` acts; says when the next one begins
    """
    values: dict[str, str | int] = {"subject": _short(subject), "limit": limit, "seconds": seconds}
    with connections[using].cursor() as cursor:
        cursor.execute(COUNT, values)
        if cursor.fetchone() is None:
            cursor.execute(LEFT, values)
            raise RateLimited(retry_after=max(1, cursor.fetchone()[0]))


def _short(subject: str) -> str:
    """Return a subject that fits: a long one by its digest, so that no two share a counter."""
    if len(subject) <= 255:
        return subject
    return f"{subject[:190]}#{hashlib.sha256(subject.encode()).hexdigest()}"
