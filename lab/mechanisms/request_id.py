"""A globally unique request id, with the request's fingerprint and the answer it was given.

Source: the articles' global id (全局唯一 ID); draft-ietf-httpapi-idempotency-key-header.
Stops: every repeat of the same request, and gives it the first answer; a different request under an
    id that was used is refused and sees nothing of that answer.
Does not stop: two ids for one order (two tabs, or a client that makes a new id for its retry).
"""

from hashlib import sha256

from idempotency.failpoints import failpoint
from lab.harness.bank import Click, Refused, charge, execute, row, transaction

SCHEMA = "CREATE TABLE request (id text PRIMARY KEY, fingerprint text NOT NULL, answer text)"

CLAIM = "INSERT INTO request VALUES (%(request_id)s, %(print)s) ON CONFLICT DO NOTHING"


def pay(click: Click) -> str:
    """Charge once for a request id; a repeated call gets the first answer."""
    asked = sha256(f"{click.order} {click.account} {click.amount}".encode()).hexdigest()
    with transaction():
        if not execute(CLAIM, click, print=asked):
            return _first_answer(click, asked)
        failpoint("looked")
        answer = charge(click)
        keep = "UPDATE request SET answer = %(answer)s WHERE id = %(request_id)s"
        execute(keep, click, answer=answer)
        return answer


def _first_answer(click: Click, asked: str) -> str:
    first = row("SELECT fingerprint, answer FROM request WHERE id = %(request_id)s", click)
    if first is None or first[0] != asked:
        raise Refused("this id belongs to another request")
    return str(first[1])
