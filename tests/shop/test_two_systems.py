"""The same pages where the payment system is another process: paid later, and the page says so."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User

from orders.models import Order, PaymentRequest
from payments.models import Account, Payment
from tests.shop.conftest import charged
from tests.support.browserless import Visitor, signed_in
from tests.support.live import until
from tests.support.network import Network
from tests.support.together import together

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def shop(network: Network, alice: User) -> Visitor:
    """Alice, who has signed in through the order system's page."""
    alice.set_password("right-password")
    alice.save()
    return signed_in(network.server.url, username="alice", password="right-password")


def test_a_pay_form_is_accepted_and_the_page_follows_until_it_is_paid(
    network: Network, shop: Visitor, order: Order, alice_account: Account
) -> None:
    checkout = shop.open(f"/orders/{order.pk}/checkout/")
    form = checkout.form("/pay/")
    assert form.fields["account"] == "", "the number is typed: only the payment system knows it"

    pages = [shop.send(form.filled(account=alice_account.pk)) for _ in range(3)]

    assert {page.path for page in pages} == {f"/orders/{order.pk}/"}
    assert [page.replayed for page in pages] == [False, True, True]
    assert all(page.says("payment pending") and "data-followed" in page.text for page in pages)
    assert shop.open(checkout.path).path == f"/orders/{order.pk}/"
    assert charged(alice_account) == 0

    network.relay()
    until(lambda: Order.objects.get().status == Order.Status.PAID, what="it is paid")
    now = shop.open(f"/orders/{order.pk}/now/")

    assert now.says("charged once, to")
    shown = until(
        lambda: (
            (page := shop.open(f"/orders/{order.pk}/")).says("3 clicks → 1 charge of €5.00")
            and page
        ),
        what="the server's process has journaled the clicks",
    )
    assert 'data-sent="3" data-executed="1" data-waited="0" data-replayed="2"' in shown.text
    assert shop.send(form.filled(account=alice_account.pk)).says("charged once, to")
    assert Payment.objects.count() == 1
    assert charged(alice_account) == order.amount


def test_tabs_that_pay_at_once_while_the_network_loses_responses_charge_once(
    network: Network, shop: Visitor, order: Order, alice_account: Account
) -> None:
    tabs = [shop.open(f"/orders/{order.pk}/checkout/").form("/pay/") for _ in range(10)]
    network.proxy.chance = {"cut-response": 0.6}
    network.relay()

    pages = together(10, lambda n: shop.send(tabs[n].filled(account=alice_account.pk)))
    network.proxy.chance = {}
    until(lambda: Order.objects.get().status == Order.Status.PAID, what="it is paid")

    assert {page.path for page in pages} == {f"/orders/{order.pk}/"}
    assert Payment.objects.count() == 1
    assert charged(alice_account) == order.amount


def test_a_declined_payment_is_shown_once_it_is_known(
    network: Network,
    shop: Visitor,
    alice: User,
    place: Callable[..., Order],
    alice_account: Account,
) -> None:
    dear = place(customer=alice, quantity=1000)
    network.relay()
    shop.send(
        shop.open(f"/orders/{dear.pk}/checkout/").form("/pay/").filled(account=alice_account.pk)
    )
    until(lambda: Order.objects.get().status == Order.Status.FAILED, what="it has failed")

    page = shop.open(f"/orders/{dear.pk}/")

    assert page.says("doesn't hold enough money. Nothing was charged.")
    assert shop.send(page.form("/again/")).path == "/basket/"
    assert charged(alice_account) == 0


def test_what_is_no_account_number_is_not_sent_to_the_payment_system(
    shop: Visitor, order: Order
) -> None:
    form = shop.open(f"/orders/{order.pk}/checkout/").form("/pay/")

    pages = [shop.send(form.filled(account=account)) for account in ("", "0", "x", "9" * 19)]

    assert {page.path for page in pages} == {f"/orders/{order.pk}/checkout/?note=account"}
    assert not PaymentRequest.objects.exists()


def test_a_mistyped_account_does_not_leave_the_payment_pending_for_ever(
    network: Network, shop: Visitor, order: Order, alice_account: Account
) -> None:
    network.relay()
    form = shop.open(f"/orders/{order.pk}/checkout/").form("/pay/")
    shop.send(form.filled(account=999_999))
    until(
        lambda: PaymentRequest.objects.get().dead_lettered or Order.objects.get().status != 1,
        what="the payment system has refused",
    )

    page = shop.open(f"/orders/{order.pk}/")

    assert charged(alice_account) == 0
    assert not page.says("This page shows the result by itself."), "nothing will come"
    listed, text = shop.open("/orders/"), page.text
    assert listed.says("held up")
    assert not listed.says("payment pending")
    assert "refused and dead-lettered, for an operator to check" in text
