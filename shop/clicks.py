"""Keeping the clicks that reached the server, so that an order's page can tell of each."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID

import structlog
from django.conf import settings
from django.db import Error, connection
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from shop.models import Click
from shop.steps import Recorder

log = structlog.get_logger("clicks")

SHOWN_OF_A_KEY = 12


@dataclass
class Heard:
    """A click under way, and what it is told."""

    order_id: UUID | None
    told: str = ""
    reason: str = ""
    recorder: Recorder = field(default_factory=Recorder)

    def answered(self, answer: HttpResponse, *, refusal: str = "") -> None:
        """Note the answer; `refusal` is the problem's slug where it is one."""
        replayed = "Idempotent-Replayed" in answer
        self.told = Click.Told.REPLAYED if replayed else Click.Told.EXECUTED
        if refusal and not replayed:
            self.refused(refusal)

    def refused(self, reason: str) -> None:
        self.told, self.reason = Click.Told.REFUSED, reason


def shown(key: str) -> str:
    """Return what is told of a key: enough to recognise it by, not enough to send it."""
    return key if len(key) <= SHOWN_OF_A_KEY else f"{key[:SHOWN_OF_A_KEY]}…"


@contextmanager
def kept(
    request: HttpRequest, wanted: str, *, key: str, order_id: UUID | None = None
) -> Iterator[Heard]:
    """Write down that a click arrived, and when it is over what became of it.

    Both outside of the transaction that the block runs: a click whose process is killed keeps its
    first half. What can't be written down is logged, and changes nothing for the customer.
    """
    heard = Heard(order_id)
    if not settings.CLICKS_ARE_KEPT:
        yield heard
        return
    arrived = _arrived(request, wanted, key, order_id)
    try:
        with connection.execute_wrapper(heard.recorder):
            yield heard
    except Exception as error:
        heard.refused(getattr(error, "default_code", type(error).__name__))
        raise
    finally:
        _over(arrived, heard)


def _arrived(request: HttpRequest, wanted: str, key: str, order_id: UUID | None) -> Click | None:
    assert request.user.is_authenticated, "only a customer's click is kept"
    request_id = getattr(request, "request_id", "")
    try:
        return Click.objects.create(
            customer=request.user,
            wanted=wanted,
            order_id=order_id,
            key=shown(key),
            request_id=request_id,
        )
    except (Error, ValueError) as error:  # ValueError: what the browser sent can't be encoded
        log.warning("a click was not kept", error=str(error).strip())
        _forget_a_lost_session()
        return None


def _over(click: Click | None, heard: Heard) -> None:
    if click is None:
        return
    try:
        Click.objects.filter(pk=click.pk).update(
            order_id=heard.order_id,
            answered_at=timezone.now(),
            told=heard.told,
            reason=heard.reason[:64],
            steps=heard.recorder.steps,
        )
    except Error as error:
        log.warning("a click's answer was not kept", error=str(error).strip())
        _forget_a_lost_session()


def _forget_a_lost_session() -> None:
    """Have the next statement open a new session if this one is gone, as a new request would."""
    if not connection.in_atomic_block:
        connection.close_if_unusable_or_obsolete()
