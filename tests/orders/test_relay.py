"""Paying over a network that loses responses, by killed relays: one charge, one outcome."""

import json
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
import urllib3
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models.functions import Now

from idempotency.models import Record
from orders import outbox
from orders.models import Order, PaymentRequest
from payments import services
from payments.models import Account, Payment
from payments.services import open_account
from simulator.chaos import Fault
from tests.conftest import OPENING
from tests.support.live import Caller, until
from tests.support.network import Network
from tests.support.together import together

pytestmark = pytest.mark.django_db(transaction=True)

NOW = {"Prefer": "wait=0"}
SOON = {"Prefer": "wait=30"}


def path_of(order: Order) -> str:
    return f"/api/v1/orders/{order.pk}/pay/"


def status_of(order: Order) -> int:
    return int(Order.objects.get(pk=order.pk).status)


def settled(*orders: Order) -> bool:
    return all(status_of(order) in {2, 3} for order in orders)


def charged(account: Account) -> int:
    account.refresh_from_db()
    assert account.balance is not None
    return OPENING - account.balance


@pytest.fixture
def pay(click: Caller, alice_account: Account) -> Callable[..., urllib3.BaseHTTPResponse]:
    def pay(order: Order, key: str, **headers: str) -> urllib3.BaseHTTPResponse:
        return click.post(path_of(order), {"account": alice_account.pk}, key=key, **headers)

    return pay


Pay = Callable[..., urllib3.BaseHTTPResponse]


def test_a_pay_is_accepted_and_its_retries_get_the_outcome_once_it_is_settled(
    network: Network, order: Order, pay: Pay, alice_account: Account
) -> None:
    accepted = pay(order, "one", **NOW)
    assert accepted.status == 202
    assert accepted.headers["Location"] == f"/api/v1/orders/{order.pk}/"
    assert "Retry-After" in accepted.headers
    assert accepted.json()["status_label"] == "paying"
    retry, other = pay(order, "one", **NOW), pay(order, "two", **NOW)
    assert retry.status == other.status == 202
    assert retry.data == accepted.data
    assert charged(alice_account) == 0

    network.relay()
    until(lambda: settled(order), what="the order is settled")

    final, of_other = pay(order, "one"), pay(order, "two")
    assert final.status == of_other.status == 200
    assert final.headers["Idempotent-Replayed"] == of_other.headers["Idempotent-Replayed"] == "true"
    assert final.data == of_other.data
    assert final.json()["status_label"] == "paid"
    payment = Payment.objects.get(order_id=order.pk)
    assert final.json()["payment"]["id"] == str(payment.pk)
    assert pay(order, "three").status == 409
    assert charged(alice_account) == order.amount


def test_who_prefers_to_wait_gets_the_outcome_itself(
    network: Network, order: Order, pay: Pay, alice_account: Account
) -> None:
    network.relay()
    paid = pay(order, "one", **SOON)
    assert paid.status == 200
    assert "Idempotent-Replayed" not in paid.headers
    assert pay(order, "one").headers["Idempotent-Replayed"] == "true"
    assert charged(alice_account) == order.amount


def test_without_a_relay_a_pay_that_says_nothing_of_waiting_is_accepted(
    network: Network, order: Order, pay: Pay
) -> None:
    assert pay(order, "one").status == 202
    assert pay(order, "one", Prefer="wait=1").status == 202


def test_a_declined_payment_fails_the_order_and_says_so_to_every_retry(
    network: Network, alice: User, place: Callable[..., Order], pay: Pay, alice_account: Account
) -> None:
    dear = place(customer=alice, quantity=1000)
    assert pay(dear, "one", **NOW).status == 202
    network.relay()
    until(lambda: settled(dear), what="the order is settled")
    declined = pay(dear, "one")
    assert declined.status == 402
    assert declined.headers["Content-Type"] == "application/problem+json"
    assert declined.json()["order"]["payment"]["outcome"] == "declined"
    assert "Retry-After" not in declined.headers
    assert charged(alice_account) == 0


@pytest.mark.parametrize(
    "fault", ["drop-request", "cut-response", "cut-halfway", "hang", "duplicate"]
)
def test_whatever_the_network_does_the_order_is_charged_once(
    fault: Fault, network: Network, order: Order, pay: Pay, alice_account: Account
) -> None:
    network.proxy.arm(fault, str(order.pk).encode())
    network.relay()
    pay(order, "one", **NOW)
    until(lambda: settled(order), what="the order is settled")
    assert network.proxy.happened[fault] == 1
    assert pay(order, "one").status == 200
    assert charged(alice_account) == order.amount


@pytest.mark.parametrize("broken", ["requests", "responses"])
def test_an_order_is_paid_as_soon_as_the_network_works_again(
    broken: str, network: Network, order: Order, pay: Pay, alice_account: Account
) -> None:
    fault: Fault = "drop-request" if broken == "requests" else "cut-response"
    network.proxy.chance = {fault: 1.0}
    network.relay()
    assert pay(order, "one").status == 202
    until(lambda: network.proxy.happened[fault] >= 3, what="it was asked for in vain")
    assert status_of(order) == Order.Status.PAYING
    request = PaymentRequest.objects.get(pk=order.pk)
    assert request.attempts >= 2
    assert not request.dead_lettered
    network.proxy.chance = {}
    until(lambda: settled(order), what="the order is settled")
    assert charged(alice_account) == order.amount


@pytest.mark.parametrize(
    "point",
    [
        "request-claimed",
        "before-sending",
        "response-received",
        "order-settled",
        "responses-replaced",
    ],
)
def test_a_relay_that_is_killed_is_taken_over_from(
    point: str, network: Network, order: Order, pay: Pay, alice_account: Account
) -> None:
    network.server.arm(point, "kill")
    first = network.relay()
    accepted = pay(order, "one", **NOW)
    assert first.wait(60) == -signal.SIGKILL
    assert network.server.hits(point) == 1
    assert status_of(order) == Order.Status.PAYING
    assert pay(order, "one", **NOW).data == accepted.data, "all or nothing of the settling"
    network.relay()
    until(lambda: settled(order), what="the other relay settles it")
    assert pay(order, "one").status == 200
    assert charged(alice_account) == order.amount


@pytest.mark.parametrize(
    "point", ["order-claimed", "payment-requested", "executed", "response-stored", "committed"]
)
def test_an_order_service_that_is_killed_has_accepted_or_not(
    point: str, network: Network, order: Order, pay: Pay, alice_account: Account
) -> None:
    network.server.arm(point, "kill")
    with pytest.raises(urllib3.exceptions.HTTPError):
        pay(order, "one", **NOW)
    assert network.server.hits(point) == 1
    committed = point == "committed"
    until(lambda: status_of(order) == (1 if committed else 0), what="the session has ended")
    assert PaymentRequest.objects.count() == Record.objects.count() == int(committed)
    network.relay()
    until(lambda: pay(order, "one", **SOON).status == 200, what="the retry has its response")
    assert charged(alice_account) == order.amount


@pytest.mark.parametrize(
    "point",
    [
        "payment-requested",
        "response-stored",
        "payment-decided",
        "order-settled",
        "responses-replaced",
    ],
)
def test_a_database_session_that_is_lost_in_mid_transaction_changes_nothing(
    point: str, network: Network, order: Order, pay: Pay, alice_account: Account
) -> None:
    network.server.arm(point, "hold")
    network.relay()
    with ThreadPoolExecutor(1) as threads:
        paying = threads.submit(pay, order, "one", **NOW)
        until(lambda: network.server.hits(point) == 1, what="a transaction is held there")
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE state = 'idle in transaction' AND datname = current_database()"
            )
            assert cursor.fetchall() == [(True,)]
        network.server.release(point)
        assert paying.result().status == 202
    until(lambda: settled(order), what="the order is settled")
    assert pay(order, "one").status == 200
    assert charged(alice_account) == order.amount


def test_a_payment_service_that_is_killed_is_asked_again(
    network: Network, order: Order, pay: Pay, alice_account: Account
) -> None:
    network.server.arm("payment-decided", "kill")
    pay(order, "one", **NOW)  # before anybody is killed: both systems share the workers
    network.relay()
    until(lambda: settled(order), what="the order is settled")
    assert network.server.hits("payment-decided") == 1
    assert network.proxy.happened["no-response"] >= 1
    assert pay(order, "one").status == 200
    assert charged(alice_account) == order.amount


def test_who_is_waiting_while_the_order_is_settled_gets_the_outcome_too(
    network: Network, order: Order, pay: Pay, alice_account: Account
) -> None:
    pay(order, "one", **NOW)
    network.server.arm("before-sending", "hold")
    network.relay()
    until(lambda: network.server.hits("before-sending") == 1, what="the relay is at work")
    network.server.arm("response-stored", "hold")
    with ThreadPoolExecutor(1) as threads:
        late = threads.submit(pay, order, "two", **NOW)
        until(
            lambda: network.server.hits("response-stored") == 1, what="its 202 isn't committed yet"
        )
        network.server.release("before-sending")
        until(somebody_waits_for_the_order, what="the relay waits for it")
        network.server.release("response-stored")
        assert late.result().status == 202
    until(lambda: settled(order), what="the order is settled")
    assert pay(order, "two").status == 200
    assert charged(alice_account) == order.amount


def somebody_waits_for_the_order() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            " AND query LIKE '%%UPDATE orders_order%%' AND datname = current_database()"
        )
        return bool(cursor.fetchone()[0])


def test_two_relays_never_ask_twice_where_nothing_goes_wrong(
    network: Network, alice: User, place: Callable[..., Order], pay: Pay, alice_account: Account
) -> None:
    orders = [place(customer=alice) for _ in range(20)]
    together(20, lambda n: pay(orders[n], f"key-{n}", **NOW))
    asked_before = network.proxy.requests
    network.relay(concurrency=2)
    network.relay(concurrency=2)
    until(lambda: settled(*orders), what="all are settled")
    assert network.proxy.requests - asked_before == len(orders)
    assert charged(alice_account) == sum(order.amount for order in orders)


def test_a_relay_whose_session_is_ended_goes_on_under_another_number(
    network: Network, order: Order, pay: Pay, alice_account: Account
) -> None:
    network.server.arm("before-sending", "hold")
    network.relay()
    pay(order, "one", **NOW)
    until(lambda: network.server.hits("before-sending") == 1, what="the relay is at work")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks"
            " WHERE locktype = 'advisory' AND classid = 18000606 AND granted"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        assert cursor.fetchall() == [(True,)]
    until(lambda: network.proxy.requests and settled(order), what="it is asked for all the same")
    network.server.release("before-sending")
    assert charged(alice_account) == order.amount


@pytest.mark.parametrize("first", ["has its response", "loses its response"])
def test_a_payment_on_other_terms_is_set_aside_and_says_which_however_the_first_attempt_went(
    first: str, network: Network, order: Order, pay: Pay, alice: User, alice_account: Account
) -> None:
    other = open_account(owner=alice, currency="EUR", opening_balance=OPENING)
    services.pay(order_id=order.pk, account_id=other.pk, amount=order.amount, currency="EUR")
    lost = int(first == "loses its response")
    if lost:
        network.proxy.arm("cut-response", str(order.pk).encode())
    pay(order, "one", **NOW)
    network.relay()
    until(lambda: PaymentRequest.objects.get(pk=order.pk).dead_lettered, what="it is dead-lettered")

    request = PaymentRequest.objects.get(pk=order.pk)
    assert request.last_error == "/problems/payment-mismatch: other account_id"
    assert (network.proxy.happened["cut-response"], request.attempts) == (lost, 1 + lost)
    assert outbox.requeue([order.pk]) == 1
    until(lambda: PaymentRequest.objects.get(pk=order.pk).attempts > request.attempts)
    until(lambda: PaymentRequest.objects.get(pk=order.pk).dead_lettered, what="it is once more")
    assert status_of(order) == Order.Status.PAYING
    assert Payment.objects.count() == 1
    assert (charged(alice_account), charged(other)) == (0, order.amount)
    undo_the_other_payment()


def undo_the_other_payment() -> None:
    """Remove what the audit at the end of a test would report, and rightly."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("DELETE FROM payments_entry; DELETE FROM payments_payment")
        cursor.execute("UPDATE payments_account SET balance = opening_balance")


def test_a_refused_payment_is_set_aside_until_somebody_retries_it(
    network: Network, order: Order, pay: Pay, alice_account: Account, admin_client: Any
) -> None:
    User.objects.get(username="order-system").user_permissions.clear()
    network.relay()
    pay(order, "one", **NOW)
    until(lambda: PaymentRequest.objects.get(pk=order.pk).dead_lettered, what="it is dead-lettered")
    request = PaymentRequest.objects.get(pk=order.pk)
    assert request.last_error == "403 /problems/permission-denied"
    assert status_of(order) == Order.Status.PAYING
    assert (
        "dead-lettered"
        in admin_client.get("/admin/orders/paymentrequest/?dead_lettered__exact=1").text
    )

    from django.contrib.auth.models import Permission

    service = User.objects.get(username="order-system")
    service.user_permissions.add(Permission.objects.get(codename="charge"))
    form = {"action": "requeue", "_selected_action": [str(order.pk)]}
    for _ in range(2):  # a double click on the button
        assert admin_client.post("/admin/orders/paymentrequest/", form).status_code == 302
    until(lambda: settled(order), what="the order is settled")
    assert charged(alice_account) == order.amount


@pytest.mark.parametrize("whose", ["bob's", "nobody's"])
def test_an_account_that_is_not_the_customers_is_never_charged(
    whose: str, network: Network, order: Order, click: Caller, bob_account: Account
) -> None:
    network.relay()
    account = bob_account.pk if whose == "bob's" else 999_999
    assert click.post(path_of(order), {"account": account}, key="one", **NOW).status == 202
    until(lambda: PaymentRequest.objects.get(pk=order.pk).dead_lettered, what="it is dead-lettered")
    # 404 where the payment system is alone; here the database knows the order's terms as well.
    assert PaymentRequest.objects.get(pk=order.pk).last_error[:3] in {"404", "409"}
    assert Payment.objects.count() == 0
    assert charged(bob_account) == 0


def test_a_storm_with_lost_responses_and_relays_that_are_killed_charges_every_order_once(
    network: Network, alice: User, place: Callable[..., Order], pay: Pay, alice_account: Account
) -> None:
    orders = [place(customer=alice, quantity=1) for _ in range(60)]
    network.proxy.chance = {"cut-response": 0.6}
    relays = [network.relay(), network.relay()]

    def storm(number: int) -> None:
        for order in orders[number::12]:
            for _ in range(3):
                assert pay(order, str(order.pk), **NOW).status in {200, 202}

    together(12, storm)
    for killed in range(1, 6):
        enough = network.proxy.happened["cut-response"] + 8  # while many orders still ask
        until(
            lambda lost=enough: network.proxy.happened["cut-response"] >= lost or settled(*orders)
        )
        relays[killed % 2].kill()
        assert relays[killed % 2].wait() == -signal.SIGKILL
        relays[killed % 2] = network.relay()
    network.proxy.chance = {}
    until(lambda: settled(*orders), seconds=30, what="all are settled after the faults stop")
    assert network.proxy.happened["cut-response"] >= 30
    for order in orders:
        assert pay(order, str(order.pk)).status == 200
    assert Payment.objects.count() == len(orders)
    assert charged(alice_account) == sum(order.amount for order in orders)


def test_the_stored_bytes_are_what_is_asked_for(network: Network, order: Order, pay: Pay) -> None:
    pay(order, "one", **NOW)
    stored = PaymentRequest.objects.get(pk=order.pk)
    assert json.loads(bytes(stored.body)) == {
        "order_id": str(order.pk),
        "account_id": Order.objects.get(pk=order.pk).account_id,
        "amount": order.amount,
        "currency": "EUR",
        "customer": "alice",
    }


def test_many_keys_at_once_start_one_payment(
    network: Network, order: Order, pay: Pay, alice_account: Account
) -> None:
    network.relay()
    keys = [uuid4().hex for _ in range(12)]
    together(12, lambda n: pay(order, keys[n], **NOW))
    until(lambda: settled(order), what="the order is settled")
    responses = {pay(order, key).status for key in keys}
    assert responses <= {200, 409}
    assert 202 not in set(Record.objects.values_list("status", flat=True))
    assert Payment.objects.count() == 1
    assert charged(alice_account) == order.amount


def test_a_response_past_its_retention_is_not_brought_back_by_the_settling(
    network: Network, order: Order, pay: Pay
) -> None:
    pay(order, "one", **NOW)
    pay(order, "two", **NOW)
    Record.objects.filter(key="two").update(
        status=None, body=None, retained_until=Now()
    )  # as the purge does
    network.relay()
    until(lambda: settled(order), what="the order is settled")
    assert pay(order, "one").status == 200
    assert pay(order, "two").status == 410
