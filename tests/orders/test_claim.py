"""What a relay claims: requests that are due and open, however many others came before them."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from orders import outbox
from orders.models import Order, PaymentRequest

EARLIER, LATELY = timedelta(minutes=5), timedelta(minutes=1)
SETTLED = {"settled_at": timezone.now(), "response": {}}
DEAD_LETTERED = {"dead_lettered": True}


@pytest.mark.parametrize("closed", [SETTLED, DEAD_LETTERED], ids=["settled", "dead-lettered"])
def test_a_closed_request_takes_no_place_in_a_batch(
    closed: dict[str, Any], alice: User, place: Callable[..., Order]
) -> None:
    now = timezone.now()
    PaymentRequest.objects.create(
        order=place(customer=alice), body=b"{}", due_at=now - EARLIER, **closed
    )
    due = PaymentRequest.objects.create(
        order=place(customer=alice), body=b"{}", due_at=now - LATELY
    )

    batch = outbox.claim(relay=1, limit=1)

    assert [request.order_id for request in batch] == [due.order_id]


def test_a_request_that_is_not_due_yet_is_not_claimed(order: Order) -> None:
    PaymentRequest.objects.create(order=order, body=b"{}", due_at=timezone.now() + EARLIER)

    assert outbox.claim(relay=1, limit=1) == []
