"""Recording the clicks that reached the server, so that an order's timeline can show each."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID

import structlog
from django.conf import settings
from django.db import Error, connection
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse

from idempotency.steps import Step, recording
from shop.models import Click, ClickAction, ClickOutcome

log = structlog.get_logger("clicks")

KEY_CHARACTERS_SHOWN = 12


@dataclass
class ClickInProgress:
    """A click that is being handled, and its outcome so far."""

    order_id: UUID | None
    outcome: str = ""
    reason: str = ""
    steps: list[Step] = field(default_factory=list)

    def respond(self, response: HttpResponse, *, refusal: str = "") -> None:
        """Note the response; `refusal` is the problem's slug if it is one."""
        replayed = "Idempotent-Replayed" in response
        self.outcome = ClickOutcome.REPLAYED if replayed else ClickOutcome.EXECUTED
        if refusal and not replayed:
            self.refuse(refusal)

    def refuse(self, reason: str) -> None:
        """Note that the click was refused, and why."""
        self.outcome, self.reason = ClickOutcome.REFUSED, reason


def shorten_key(key: str) -> str:
    """Return as much of a key as may be shown: enough to recognise it, too little to send it."""
    return key if len(key) <= KEY_CHARACTERS_SHOWN else f"{key[:KEY_CHARACTERS_SHOWN]}…"


@contextmanager
def record_click(
    request: HttpRequest, action: ClickAction, *, key: str, order_id: UUID | None = None
) -> Iterator[ClickInProgress]:
    """Record a click on receipt and, at the end of the block, its outcome.

    Both writes are outside the transaction that the block runs: if the process is killed, the
    first one stays. A write that fails is logged and changes nothing for the customer.
    """
    in_progress = ClickInProgress(order_id)
    if not settings.RECORD_CLICKS:
        yield in_progress
        return
    click = _record_receipt(request, action, key, order_id)
    try:
        with recording(in_progress.steps):
            yield in_progress
    except Exception as error:
        in_progress.refuse(getattr(error, "slug", type(error).__name__))
        raise
    finally:
        _record_outcome(click, in_progress)


def _record_receipt(
    request: HttpRequest, action: ClickAction, key: str, order_id: UUID | None
) -> Click | None:
    assert request.user.is_authenticated, "only a customer's click is recorded"
    request_id = getattr(request, "request_id", "")
    try:
        return Click.objects.create(
            customer=request.user,
            action=action,
            order_id=order_id,
            key=shorten_key(key),
            request_id=request_id,
        )
    except (Error, ValueError) as error:  # ValueError: what the browser sent can't be encoded
        log.warning("click not recorded", error=str(error).strip())
        _close_lost_connection()
        return None


def _record_outcome(click: Click | None, in_progress: ClickInProgress) -> None:
    if click is None:
        return
    try:
        Click.objects.filter(pk=click.pk).update(
            order_id=in_progress.order_id,
            responded_at=Now(),
            outcome=in_progress.outcome,
            reason=in_progress.reason[:64],
            statements=[(step.name, step.rows, step.ms) for step in in_progress.steps],
        )
    except Error as error:
        log.warning("click's outcome not recorded", error=str(error).strip())
        _close_lost_connection()


def _close_lost_connection() -> None:
    """Let the next statement open a new session if this one is gone, as a new request would."""
    if not connection.in_atomic_block:
        connection.close_if_unusable_or_obsolete()
