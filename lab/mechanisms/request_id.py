"""A globally unique request id, with the request's fingerprint and its first response.

Source: the articles' global id (全局唯一 ID); draft-ietf-httpapi-idempotency-key-header.
Stops: every duplicate of the same request, and gives it the first response; a different request
    under an id that was used is refused and sees nothing of that response.
Does not stop: two ids for one order (two tabs, or a client that makes a new id for its retry).
"""

from hashlib import sha256

from idempotency.failpoints import failpoint
from lab.harness.bank import ClickRefused, PayClick, charge, execute, row, transaction

SCHEMA = "CREATE TABLE request (id text PRIMARY KEY, fingerprint text NOT NULL, response text)"

CLAIM = "INSERT INTO request VALUES (%(request_id)s, %(fingerprint)s) ON CONFLICT DO NOTHING"


def pay(click: PayClick) -> str:
    """Charge once for a request id; a duplicate gets the first response."""
    fingerprint = sha256(f"{click.order} {click.account} {click.amount}".encode()).hexdigest()
    with transaction():
        if not execute(CLAIM, click, fingerprint=fingerprint):
            return _first_response(click, fingerprint)
        failpoint("checked")
        response = charge(click)
        record = "UPDATE request SET response = %(response)s WHERE id = %(request_id)s"
        execute(record, click, response=response)
        return response


def _first_response(click: PayClick, fingerprint: str) -> str:
    first = row("SELECT fingerprint, response FROM request WHERE id = %(request_id)s", click)
    if first is None or first[0] != fingerprint:
        raise ClickRefused("this id belongs to another request")
    return str(first[1])
