"""A row for each request in a table of its own, written in the same transaction as the effect.

Source: the articles' dedup table (防重表): its unique key is the request, the business tables stay
    as they are.
Stops: every duplicate of the same request; a crash undoes both the row and the charge, or neither.
Does not stop: a second request for the same order, such as a second tab's. And where the row
    commits apart from the effect, a crash between the two charges twice or never.
"""

from idempotency.failpoints import failpoint
from lab.harness.bank import ClickRefused, PayClick, charge, execute, transaction

SCHEMA = "CREATE TABLE dedup (request_id text PRIMARY KEY)"

CLAIM = "INSERT INTO dedup VALUES (%(request_id)s) ON CONFLICT DO NOTHING"


def pay(click: PayClick) -> str:
    """Charge once for a request; a duplicate is refused."""
    with transaction():
        if not execute(CLAIM, click):
            raise ClickRefused("this request was handled before")
        failpoint("checked")
        return charge(click)
