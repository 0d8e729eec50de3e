"""What became of requests, for counts and journals: sent after the commit, outside the money path.

Each is sent with `scope`, `key_digest`, `subject` and `request_id`, never the key; with the
`seconds` that the request took so far, the `waited_seconds` among them, and its `steps`; `refused`
also with the `slug` of the problem, `executed` with the `identity` of its record, the stored
`status`, and whether another key's request had `superseded` it; `purged` with `count` alone. A
receiver that fails is logged and changes nothing.
"""

import logging
from typing import TYPE_CHECKING, Any

from django.dispatch import Signal

if TYPE_CHECKING:
    from idempotency.claim import Claim

log = logging.getLogger("idempotency")

executed = Signal()
replayed = Signal()
waited = Signal()
refused = Signal()
purged = Signal()


def send(signal: Signal, claim: "Claim", *, subject: str = "", **facts: Any) -> None:
    """Tell the receivers of a signal what became of a request; never raises."""
    if not signal.receivers:
        return
    results = signal.send_robust(
        sender=type(claim),
        scope=claim.scope,
        key_digest=claim.key_digest,
        subject=subject or claim.subject,
        request_id=claim.request_id,
        **facts,
    )
    for receiver, error in results:
        if isinstance(error, Exception):
            log.error("a receiver failed: %r", receiver, exc_info=error)
