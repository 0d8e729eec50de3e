"""What a relay claims: requests that are due and open, however many others came before them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models.functions import Now
from django.utils import timezone
from uuid_utils.compat import uuid7

from orders import outbox
from orders.models import Order, PaymentRequest
from orders.outbox import Call, ClaimedRequest
from payments.client import Payment

EARLIER, LATELY = timedelta(minutes=5), timedelta(minutes=1)
SETTLED = {"settled_at": timezone.now(), "response": {}}
DEAD_LETTERED = {"dead_lettered": True}
REFUSED = Call("charge", "refused", "404")


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


# --- Whose request is claimed

RELAY = 7


@contextmanager
def held(sql: str, *values: int, **other: Any) -> Iterator[None]:
    """Have another session hold a lock."""
    params = connection.get_connection_params() | other
    with psycopg.connect(**params, autocommit=True) as session:
        session.execute(sql, values)
        yield


def claimed_by_another(order: Order) -> bool:
    """Return True if a relay can't claim the request that relay 7 has claimed."""
    batch = outbox.claim(relay=1, limit=1)
    PaymentRequest.objects.filter(order=order).update(claimed_by=RELAY)
    return batch == []


@pytest.mark.django_db(transaction=True)
def test_a_request_is_held_by_the_lock_of_its_relay_and_by_no_other(order: Order) -> None:
    PaymentRequest.objects.create(order=order, body=b"{}", claimed_by=RELAY)
    with held("SELECT pg_advisory_lock(%s, %s)", outbox.RELAYS, RELAY):
        assert claimed_by_another(order)
    with held("SELECT pg_advisory_lock(%s, %s)", outbox.RELAYS, RELAY + 1):
        assert not claimed_by_another(order), "another relay's"
    with held("SELECT pg_advisory_lock(%s, %s)", outbox.RELAYS + 1, RELAY):
        assert not claimed_by_another(order), "another class of locks"
    with held("SELECT pg_advisory_lock(%s)", (outbox.RELAYS << 32) + RELAY):
        assert not claimed_by_another(order), "a lock with one number"
    with held("SELECT pg_advisory_lock(%s, %s)", outbox.RELAYS, RELAY, dbname="postgres"):
        assert not claimed_by_another(order), "another database's"


@pytest.mark.django_db(transaction=True)
def test_no_more_is_claimed_than_was_asked_for(alice: User, place: Callable[..., Order]) -> None:
    for _ in range(3):
        PaymentRequest.objects.create(order=place(customer=alice), body=b"{}")

    assert len(outbox.claim(relay=RELAY, limit=1)) == 1
    assert PaymentRequest.objects.filter(claimed_by=RELAY).count() == 1


def test_only_the_relay_that_claimed_a_request_releases_it(
    alice: User, place: Callable[..., Order]
) -> None:
    mine, other = (
        PaymentRequest.objects.create(order=place(customer=alice), body=b"{}", claimed_by=RELAY)
        for _ in range(2)
    )
    request = ClaimedRequest(mine.order_id, b"{}", "", "", attempts=1, is_given_up=False)

    outbox.dead_letter(request, REFUSED, relay=RELAY + 1)
    assert not PaymentRequest.objects.filter(dead_lettered=True).exists()
    outbox.dead_letter(request, REFUSED, relay=RELAY)
    assert PaymentRequest.objects.get(dead_lettered=True) == mine
    assert outbox.dead_lettered_among([mine.order_id, other.order_id]) == {mine.order_id}
    assert outbox.dead_lettered_among([other.order_id]) == set()
    PaymentRequest.objects.filter(pk=other.pk).update(settled_at=Now(), response={})
    settled = ClaimedRequest(other.order_id, b"{}", "", "", attempts=1, is_given_up=False)
    outbox.reschedule(settled, Call("charge", "unknown", "late"), relay=RELAY, seconds=0)
    assert not PaymentRequest.objects.filter(last_error="late").exists(), "it is settled"


def test_a_result_closes_its_own_request_once(alice: User, place: Callable[..., Order]) -> None:
    mine, other = (
        PaymentRequest.objects.create(order=place(customer=alice), body=b"{}") for _ in range(2)
    )
    at = timezone.now().replace(microsecond=0)
    first = Payment(uuid7(), mine.order_id, 1, 500, "EUR", "succeeded", at)
    for payment in (first, replace(first, amount=1)):
        outbox.close([outbox.Result(mine.order_id, payment, Call("charge", "succeeded"))])

    assert outbox.payments_of([mine.order_id, other.order_id]) == {mine.order_id: first}
    assert outbox.payments_of([other.order_id]) == {}
    assert outbox.outlook(other.order_id) is outbox.Outlook.OPEN


def test_what_is_settled_is_known_of_its_own_order_only(
    alice: User, place: Callable[..., Order]
) -> None:
    mine, other = (
        PaymentRequest.objects.create(order=place(customer=alice), body=b"{}") for _ in range(2)
    )
    PaymentRequest.objects.filter(pk=other.pk).update(settled_at=Now(), response={})

    assert outbox.outlook(mine.order_id) is outbox.Outlook.OPEN
    assert outbox.outlook(other.order_id) is outbox.Outlook.SETTLED


def test_a_relay_is_refused_where_nothing_is_requested_over_a_network(db: None) -> None:
    with pytest.raises(CommandError, match="has a PAYMENTS_URL"):
        call_command("relay")


def test_a_relays_session_ends_soon_after_its_host_is_gone(transactional_db: None) -> None:
    outbox.register()
    with connection.cursor() as cursor:
        cursor.execute("SELECT inet_client_addr() IS NULL, current_setting('tcp_user_timeout')")
        is_local, limit = cursor.fetchone()
    assert is_local or limit == "10000"  # ms
