"""A rate limit that is exact under concurrency: one atomic upsert counts and decides."""

from django.db import connection

from idempotency.errors import RateLimited

# The WHERE refuses the count past the limit: of any number of simultaneous callers, exactly
# `limit` get a row back. A new window resets the subject's own row, so nothing needs cleaning.
COUNT = """
INSERT INTO idempotency_ratecount AS counter (subject, period, count)
VALUES (%(subject)s, floor(extract(epoch FROM clock_timestamp()) / %(seconds)s)::bigint, 1)
ON CONFLICT (subject) DO UPDATE
   SET period = excluded.period,
       count = CASE WHEN counter.period = excluded.period THEN counter.count + 1 ELSE 1 END
 WHERE counter.period <> excluded.period OR counter.count < %(limit)s
RETURNING count
"""

LEFT = """
SELECT ceil(%(seconds)s - extract(epoch FROM clock_timestamp())::numeric %% %(seconds)s)::int
"""


def count(subject: str, *, limit: int, seconds: int) -> None:
    """Count one more act of a subject in the present window of so many seconds.

    :raises RateLimited: the window already holds `limit` acts; says when the next one begins
    """
    values: dict[str, str | int] = {"subject": subject[:255], "limit": limit, "seconds": seconds}
    with connection.cursor() as cursor:
        cursor.execute(COUNT, values)
        if cursor.fetchone() is None:
            cursor.execute(LEFT, values)
            raise RateLimited(retry_after=max(1, cursor.fetchone()[0]))
