"""Giving a dead-lettered payment up: nobody is charged for its order id from then on."""

from collections.abc import Callable
from typing import Any

import pytest
import urllib3
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import IntegrityError
from django.test import Client
from django.urls import reverse

from orders import outbox
from orders.models import Order, PaymentRequest
from orders.verdict import verdict_on
from payments import remote, services
from payments.models import Account, Entry, Payment
from tests.orders.test_relay import undo_the_other_payment
from tests.shop.conftest import charged
from tests.support.browserless import signed_in
from tests.support.live import Caller, until
from tests.support.network import SERVICE_TOKEN, Network
from tests.support.together import together

pytestmark = pytest.mark.django_db(transaction=True)

NOBODYS = 999_999_999
UNKNOWN_ACCOUNT = "404 /problems/not-found"


@pytest.fixture
def boss(db: None) -> Client:
    """A member of staff who may act on orders, through the admin."""
    user = User.objects.create_user("boss", is_staff=True)
    user.user_permissions.set(
        Permission.objects.filter(codename__in=["change_order", "view_paymentrequest"])
    )
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def refused(network: Network, click: Caller, order: Order) -> Callable[[], PaymentRequest]:
    """Pay the order from an account that nobody has, and return its dead-lettered request."""
    pay(click, order, account=NOBODYS)
    network.relay()
    return lambda: dead_lettered(order)


def pay(click: Caller, order: Order, *, account: int) -> urllib3.BaseHTTPResponse:
    path = f"/api/v1/orders/{order.pk}/pay/"
    return click.post(path, {"account": account}, key="one", Prefer="wait=0")


def dead_lettered(order: Order) -> PaymentRequest:
    requests = PaymentRequest.objects.filter(pk=order.pk, dead_lettered=True)
    found: PaymentRequest = until(requests.first, what="it is dead-lettered")
    return found


def give_up(boss: Client, order: Order, *, reason: str = "no such account") -> str:
    """Send the form, and return the page that it leads to."""
    address = reverse("admin:orders_order_give-up", args=[order.pk])
    return boss.post(address, {"reason": reason}, follow=True).content.decode()


def settled(order: Order) -> Order:
    done = Order.objects.filter(pk=order.pk, status__gt=Order.Status.PAYING)
    found: Order = until(done.first, what="the order is settled")
    return found


def calls_of(order: Order) -> list[tuple[str, str, str]]:
    calls = PaymentRequest.objects.get(pk=order.pk).calls
    return [(call["call"], call["outcome"], call["error"]) for call in calls]


def test_a_payment_that_is_given_up_fails_its_order_and_says_who_and_why(
    boss: Client, refused: Any, click: Caller, order: Order, network: Network, alice: User
) -> None:
    assert refused().last_error == UNKNOWN_ACCOUNT
    page = boss.get(reverse("admin:orders_order_give-up", args=[order.pk])).content.decode()
    assert f"refused to charge account {NOBODYS} €5.00 for alice: {UNKNOWN_ACCOUNT}" in page
    assert 'id="give-up"' in boss.get(admin_page(order)).content.decode()

    assert "Given up: the payment system" in give_up(boss, order)

    assert settled(order).status == Order.Status.FAILED
    payment = Payment.objects.get(order_id=order.pk)
    assert (payment.outcome, payment.account_id, payment.amount) == ("declined", None, 500)
    assert not Entry.objects.exists()
    verdict = verdict_on(settled(order)).text
    assert "Not charged: the payment of €5.00 was given up on" in verdict
    assert "Given up by boss: “no such account”." in verdict
    assert 'id="give-up"' not in boss.get(admin_page(order)).content.decode()
    final = pay(click, order, account=NOBODYS)
    assert (final.status, final.headers["Idempotent-Replayed"]) == (402, "true")
    assert final.json()["order"]["payment"]["account_id"] is None
    assert final.json()["detail"].startswith("The payment was given up")
    alice.set_password("right-password")
    alice.save()
    shop = signed_in(network.server.url, username="alice", password="right-password")
    shown = shop.open(f"/orders/{order.pk}/")
    assert shown.says("We have given it up. Nothing was charged, and nothing will be.")
    assert shown.says(f"refused and dead-lettered, for an operator to check: {UNKNOWN_ACCOUNT}")
    assert shown.says("relay: decline")
    assert "no such account" not in shown.text
    assert calls_of(order) == [
        ("charge", "refused", UNKNOWN_ACCOUNT),
        ("decline", "declined", ""),
    ]


def admin_page(order: Order) -> str:
    return reverse("admin:orders_order_change", args=[order.pk])


def test_the_form_sent_many_times_gives_up_once(
    boss: Client, refused: Any, order: Order, network: Network
) -> None:
    refused()
    network.stop_relays()  # nothing is dead-lettered anew meanwhile

    together(5, lambda _: give_up(boss, order))

    assert LogEntry.objects.filter(object_id=str(order.pk)).count() == 1
    assert "It was not dead-lettered, nothing changed." in give_up(boss, order)


def test_a_late_charge_of_what_was_given_up_gets_the_decline(
    boss: Client, refused: Any, order: Order, network: Network, settings: Any
) -> None:
    request = refused()
    give_up(boss, order)
    settled(order)

    settings.PAYMENTS_URL, settings.PAYMENTS_TOKEN = network.proxy.url, SERVICE_TOKEN
    late = remote.charge(bytes(request.body), request_id="late")

    assert isinstance(late, remote.Decided)
    assert (late.payment.outcome, late.payment.account_id) == ("declined", None)
    assert Payment.objects.count() == 1


def test_what_was_charged_after_all_is_paid(
    boss: Client, order: Order, network: Network, click: Caller, alice_account: Account
) -> None:
    """The first response was lost, and then the relay's permission."""
    network.proxy.arm("cut-response", str(order.pk).encode())
    pay(click, order, account=alice_account.pk)
    network.relay()
    until(lambda: calls_of(order)[:1], what="the response is lost")
    network.stop_relays()
    PaymentRequest.objects.filter(pk=order.pk, settled_at=None).update(dead_lettered=True)
    assert network.proxy.happened["cut-response"] == 1
    assert Order.objects.get().status == Order.Status.PAYING

    give_up(boss, order)
    network.relay()

    assert settled(order).status == Order.Status.PAID
    assert calls_of(order)[-1] == ("decline", "succeeded", "")
    assert "Charged once: €5.00" in verdict_on(settled(order)).text
    assert "Given up by boss" in verdict_on(settled(order)).text
    assert charged(alice_account) == order.amount


def test_a_decline_whose_response_is_lost_is_requested_again(
    boss: Client, refused: Any, order: Order, network: Network
) -> None:
    refused()
    network.proxy.arm("cut-response", str(order.pk).encode())

    give_up(boss, order)

    assert settled(order).status == Order.Status.FAILED
    assert network.proxy.happened["cut-response"] == 1
    names = [(name, outcome) for name, outcome, _ in calls_of(order)]
    assert names == [("charge", "refused"), ("decline", "unknown"), ("decline", "declined")]
    assert Payment.objects.count() == 1


def test_a_payment_on_other_terms_is_not_given_up(
    boss: Client, order: Order, network: Network, click: Caller, alice_account: Account, alice: User
) -> None:
    other = services.open_account(owner=alice, currency="EUR", opening_balance=1000)
    services.pay(order_id=order.pk, account_id=other.pk, amount=order.amount, currency="EUR")
    pay(click, order, account=alice_account.pk)
    network.relay()
    attempts = dead_lettered(order).attempts

    give_up(boss, order)

    until(lambda: PaymentRequest.objects.get().attempts > attempts, what="it is asked to decline")
    assert dead_lettered(order).last_error == "/problems/payment-mismatch: other account_id"
    assert calls_of(order)[-1][:2] == ("decline", "refused")
    assert Order.objects.get().status == Order.Status.PAYING
    assert Payment.objects.get().succeeded
    undo_the_other_payment()


def test_who_gives_up_has_to_say_why(boss: Client, order: Order) -> None:
    PaymentRequest.objects.create(order=order, body=b"{}", dead_lettered=True)

    assert "Give a reason. Nothing changed." in give_up(boss, order, reason="  ")

    request = PaymentRequest.objects.get()
    assert (request.dead_lettered, request.given_up_by) == (True, "")
    with pytest.raises(IntegrityError, match="given_up_with_a_reason"):
        outbox.give_up(order.pk, by="boss", reason="")


@pytest.mark.parametrize(
    "state", [{"dead_lettered": False}, {"settled_at": "2026-01-01T00:00Z", "response": {}}]
)
def test_only_what_is_dead_lettered_can_be_given_up(
    state: dict[str, Any], boss: Client, order: Order, place: Callable[..., Order]
) -> None:
    PaymentRequest.objects.create(order=order, body=b"{}", **state)
    another = place(customer=order.customer)
    PaymentRequest.objects.create(order=another, body=b"{}", dead_lettered=True)
    address = reverse("admin:orders_order_give-up", args=[order.pk])

    assert boss.get(address).status_code == 302
    assert "It was not dead-lettered, nothing changed." in give_up(boss, order)

    assert not outbox.give_up(order.pk, by="boss", reason="why not")
    assert {each.given_up_by for each in PaymentRequest.objects.all()} == {""}
    assert not LogEntry.objects.exists()
    assert "Given up" not in verdict_on(another).text


def test_the_first_calls_of_a_relay_are_recorded_and_the_last_one(order: Order) -> None:
    PaymentRequest.objects.create(order=order, body=b"{}", claimed_by=7)
    request = outbox.ClaimedRequest(order.pk, b"{}", "", "", attempts=1, is_given_up=False)
    for number in range(outbox.CALLS_MAX + 5):
        outbox.reschedule(
            request, outbox.Call("charge", "unknown", str(number)), relay=7, seconds=0
        )
        PaymentRequest.objects.update(claimed_by=7)

    errors = [int(error) for *_, error in calls_of(order)]
    assert errors == [*range(outbox.CALLS_MAX - 1), outbox.CALLS_MAX + 4]
