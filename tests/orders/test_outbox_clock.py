"""One clock decides when a request is due: the database's, whatever the application's says."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models.functions import Now
from django.utils import timezone

from orders import outbox
from orders.models import Order, PaymentRequest
from orders.outbox import Call, ClaimedRequest, Outlook

pytestmark = pytest.mark.django_db(transaction=True)

RELAY = 1
WRONG_CLOCKS = [timedelta(hours=-1), timedelta(hours=1), timedelta(days=-60), timedelta(days=60)]


@pytest.fixture(params=WRONG_CLOCKS, ids=str)
def wrong_clock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the application's clock wrong."""
    right = timezone.now
    monkeypatch.setattr(timezone, "now", lambda: right() + request.param)
    assert abs(timezone.now() - right()) >= timedelta(minutes=59)


@pytest.fixture
def waiting(alice: User, place: Callable[..., Order], wrong_clock: None) -> Order:
    """An order whose payment is in the outbox."""
    order = place(customer=alice)
    outbox.write(order, customer="alice", request_id="r", key_digest="")
    return order


def claimed() -> list[ClaimedRequest]:
    return outbox.claim(relay=RELAY, limit=5)


def let_pass(seconds: float) -> None:
    """Have a time pass for every row of the outbox."""
    moved = "created_at - make_interval(secs => %s), due_at = due_at - make_interval(secs => %s)"
    with connection.cursor() as cursor:
        statement = f"UPDATE orders_paymentrequest SET created_at = {moved}"
        cursor.execute(statement, [seconds, seconds])


def test_a_rescheduled_request_is_due_after_its_pause_and_not_before(waiting: Order) -> None:
    (request,) = claimed()

    outbox.reschedule(request, Call("charge", "unknown", "silence"), relay=RELAY, seconds=600)

    let_pass(590)
    assert claimed() == []
    let_pass(20)
    assert [due.attempts for due in claimed()] == [2]


def test_a_requeued_request_is_due_at_once(waiting: Order) -> None:
    (request,) = claimed()
    outbox.dead_letter(request, Call("charge", "refused", "403"), relay=RELAY)

    assert outbox.requeue([waiting.pk]) == 1

    assert [due.order_id for due in claimed()] == [waiting.pk]


def test_the_payment_system_is_silent_once_a_request_has_waited_and_not_before(
    waiting: Order, monkeypatch: Any
) -> None:
    monkeypatch.setattr(outbox, "SILENT_SECONDS", 600)
    let_pass(590)
    assert outbox.outlook(waiting.pk) is Outlook.OPEN
    let_pass(20)
    assert outbox.outlook(waiting.pk) is Outlook.SILENT
    PaymentRequest.objects.update(last_error="refused", attempts=2)
    assert outbox.outlook(waiting.pk) is Outlook.SILENT
    PaymentRequest.objects.update(dead_lettered=True)
    assert outbox.outlook(waiting.pk) is Outlook.OPEN
    PaymentRequest.objects.update(dead_lettered=False, settled_at=Now(), response={})
    assert outbox.outlook(waiting.pk) is Outlook.SETTLED
    assert outbox.outlook(uuid4()) is Outlook.OPEN


def test_a_payment_that_took_several_attempts_does_not_make_the_system_silent(
    waiting: Order, alice: User, place: Callable[..., Order]
) -> None:
    PaymentRequest.objects.update(attempts=3, settled_at=Now(), response={})
    order = place(customer=alice)
    outbox.write(order, customer="alice", request_id="r", key_digest="")

    assert outbox.outlook(order.pk) is Outlook.OPEN
