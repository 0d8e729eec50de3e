"""Functions that run once per key: a task's body, a consumer of messages, a command.

    run_once(scope="invoices", key=message.id, args=payload, call=lambda: invoice(payload))

returns the first call's JSON result for ever. `with once(scope, key) as claim:` runs a block once:

    with once("webhooks", event.id) as claim:
        if claim.is_first:
            credit(event)
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.http import HttpResponse

from idempotency import boundary, errors, keys, records
from idempotency.claim import Busy, Claim, Replay, claim_key
from idempotency.fingerprint import Content

JSON = "application/json"


def run_once(  # noqa: PLR0913
    *,
    scope: str,
    key: str,
    call: Callable[[], Any],
    args: Any = None,
    subject: str = "",
    wait_seconds: float = 5,
    using: str = "default",
) -> Any:
    """Call a function once for a scope's key and return its result; ever after, return the first.

    The call's writes in the database `using`, the key and the result are one commit. What it raises
    leaves nothing, so that the same key may try again.

    :param args: what the call is for, as JSON: the same key with other args is refused
    :param call: returns something of JSON
    :param subject: a call that would wait for another of the scope about it is rolled back, and
        runs again when the other has ended
    :param wait_seconds: how long a concurrent duplicate waits for the first
    :raises errors.Refusal: the key was used for other args, or the first call takes too long
    """
    claim = Claim(scope, keys.checked(key), Content("CALL", body=args), subject, using=using)
    response = boundary.respond_once(
        claim,
        lambda: HttpResponse(json.dumps(call()), content_type=JSON),
        wait_seconds=wait_seconds,
    )
    return json.loads(response.content)


@dataclass(frozen=True)
class Once:
    """Whether a block runs for the first time."""

    is_first: bool


@contextmanager
def once(scope: str, key: str, *, args: Any = None, using: str = "default") -> Iterator[Once]:
    """Run a block in a transaction that also records the key; a duplicate sees `is_first` False.

    An exception in the block leaves neither its writes nor the key.

    :raises errors.KeyInUse: the first is still running; raise it on, so that the queue redelivers
    :raises errors.KeyReused: the key was used with other args
    """
    claim = Claim(scope, keys.checked(key), Content("ONCE", body=args), using=using)
    with transaction.atomic(using=using, durable=True):
        outcome = claim_key(claim)
        if isinstance(outcome, Busy):
            raise errors.KeyInUse
        first = not isinstance(outcome, Replay)
        yield Once(first)
        if first:
            done = HttpResponse(b"null", content_type=JSON)
            records.store(claim.row(subject=""), done, using=using)
