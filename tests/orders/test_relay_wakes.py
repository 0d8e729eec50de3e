"""A relay is woken by a notification; whatever happens to that, its next poll finds the request."""

from collections.abc import Callable, Iterator
from threading import Thread

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction

from orders import outbox, relay
from orders.models import Order, PaymentRequest
from orders.services import advance
from payments import remote
from payments.models import Account
from tests.support.live import until

pytestmark = pytest.mark.django_db(transaction=True)

LONG = 3600.0
LISTENING = """
SELECT pid FROM pg_stat_activity
 WHERE datname = current_database() AND pid <> pg_backend_pid() AND state = 'idle'
   AND query LIKE '%%orders_paymentrequest%%'
"""


def refuse(body: bytes, **_: str) -> remote.Outcome:
    """Be a payment system that refuses: the request is then dead-lettered."""
    return remote.Refused("nothing is charged in this test")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[float], None]]:
    """Run a relay that polls every so many seconds."""
    monkeypatch.setattr(remote, "charge", refuse)
    monkeypatch.setattr(remote, "inquire", refuse)
    relays: list[tuple[relay.Relay, Thread]] = []

    def run(idle_seconds: float) -> None:
        monkeypatch.setattr(relay, "IDLE_SECONDS", idle_seconds)
        one = relay.Relay(concurrency=2)
        thread = Thread(target=one.run)
        thread.start()
        relays.append((one, thread))
        until(is_idle, what="the relay has found nothing and waits")

    yield run
    for one, thread in relays:
        one.stop()
        outbox._wake_relays()
        thread.join()


@pytest.fixture
def paying(alice: User, alice_account: Account, place: Callable[..., Order]) -> Order:
    order = advance(place(customer=alice).pk, Order.start_paying, account_id=alice_account.pk)
    assert order is not None
    return order


def is_idle() -> list[int]:
    """Return the sessions that wait after a claim, which found nothing."""
    with connection.cursor() as cursor:
        cursor.execute(LISTENING)
        return [pid for (pid,) in cursor.fetchall()]


def write(order: Order) -> None:
    with transaction.atomic():
        outbox.write(order, customer="alice", request_id="r", key_digest="")


def is_worked_on() -> bool:
    return PaymentRequest.objects.filter(dead_lettered=True).exists()


def test_a_request_wakes_a_relay_that_would_not_poll_for_long(
    run: Callable[[float], None], paying: Order
) -> None:
    run(LONG)
    write(paying)
    until(is_worked_on, what="the relay was woken")


def test_a_request_without_a_notification_is_found_by_the_next_poll(
    run: Callable[[float], None], paying: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(0.1)
    with monkeypatch.context() as patch:
        patch.setattr(outbox, "WAKE", "SELECT 1")
        write(paying)
    until(is_worked_on, what="the relay has polled")


def test_a_relay_whose_session_is_ended_listens_again(
    run: Callable[[float], None], paying: Order
) -> None:
    run(LONG)
    waiting = until(is_idle, what="the relay waits")
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pid, 20000) FROM unnest(%s) pid", [waiting])
    until(is_idle, what="it has registered anew")
    write(paying)
    until(is_worked_on, what="the relay was woken")


def test_a_request_that_is_rolled_back_wakes_nobody(
    paying: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    woken: list[None] = []
    monkeypatch.setattr(outbox, "_wake_relays", lambda: woken.append(None))
    with transaction.atomic():
        outbox.write(paying, customer="alice", request_id="r", key_digest="")
        assert woken == [], "not before the commit"
        transaction.set_rollback(True)
    assert woken == []
    write(paying)
    assert woken == [None]
