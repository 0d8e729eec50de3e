"""Wild clicks on pages of a live server of several processes, some of which are killed."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import urllib3
from django.contrib.auth.models import User
from django.db import connection

from idempotency.journal.models import JournaledRequest
from idempotency.models import Record
from operations.audit import check_invariants as audit
from orders.models import Order, Product, StatusChange
from payments.models import Account, Payment
from shop.models import Basket
from tests.orders.test_live_clicks import waiting_on_a_lock
from tests.shop.conftest import charged
from tests.support.browserless import Form, Page, Visitor, signed_in
from tests.support.live import LiveServer, until
from tests.support.together import together

pytestmark = pytest.mark.django_db(transaction=True)

MANY = 40
PAY_POINTS = [
    "key-claimed",
    "order-claimed",
    "payment-decided",
    "order-settled",
    "executed",
    "response-stored",
    "committed",
]
PLACE_POINTS = ["key-claimed", "order-placed", "executed", "response-stored", "committed"]
NOTHING_ORDERED = "Nothing was ordered"


@pytest.fixture(autouse=True)
def _invariants_hold_afterwards() -> Iterator[None]:
    yield
    assert [finding for finding in audit() if finding.breaches] == []


@pytest.fixture
def shop(server: LiveServer, alice: User) -> Visitor:
    """Alice, who has signed in through the page."""
    alice.set_password("right-password")
    alice.save()
    return signed_in(server.url, username="alice", password="right-password")


def pay_form(shop: Visitor, order: Order) -> Form:
    return shop.open(f"/orders/{order.pk}/checkout/").form("/pay/")


def basket_form(shop: Visitor) -> Form:
    basket = shop.send(shop.open("/").form("/basket/").filled(quantity__TEA=3))
    return basket.form("/order/")


def until_responded(click: Callable[[], Page]) -> Page:
    """Click until there is a response, as the page's script does."""
    for _ in range(50):
        try:
            page = click()
        except urllib3.exceptions.HTTPError:
            time.sleep(0.1)
            continue
        if page.status != 503:
            return page
        time.sleep(0.3)
    raise AssertionError("no response")


@pytest.mark.parametrize("point", PAY_POINTS)
def test_a_form_whose_process_was_killed_is_retried_and_charges_once(
    point: str, server: LiveServer, shop: Visitor, order: Order, alice_account: Account
) -> None:
    form = pay_form(shop, order)
    server.arm(point, "kill")

    with pytest.raises(urllib3.exceptions.HTTPError):
        shop.send(form)
    assert server.hits(point) == 1, "the worker was really killed there"
    assert charged(alice_account) == (order.amount if point == "committed" else 0)
    page = until_responded(lambda: shop.send(form))

    assert (page.status, page.path) == (200, f"/orders/{order.pk}/")
    assert page.says("charged once, to")
    assert page.replayed == (point == "committed")
    assert page.says("→ 1 charge of €5.00")
    assert (Payment.objects.count(), Record.objects.count()) == (1, 1)
    assert charged(alice_account) == order.amount


@pytest.mark.parametrize("point", PLACE_POINTS)
def test_a_basket_whose_process_was_killed_is_retried_and_is_one_order(
    point: str, server: LiveServer, shop: Visitor, product: Product
) -> None:
    form = basket_form(shop)
    server.arm(point, "kill")

    with pytest.raises(urllib3.exceptions.HTTPError):
        shop.send(form)
    assert server.hits(point) == 1, "the worker was really killed there"
    page = until_responded(lambda: shop.send(form))

    assert page.path == f"/orders/{Order.objects.get().pk}/checkout/"
    assert Basket.objects.exclude(order=None).count() == Order.objects.count() == 1


def test_the_same_form_sent_many_times_at_once_charges_once_and_ends_on_the_result(
    shop: Visitor, order: Order, alice_account: Account
) -> None:
    form = pay_form(shop, order)

    pages = together(MANY, lambda _: until_responded(lambda: shop.send(form)))

    assert {page.path for page in pages} == {f"/orders/{order.pk}/"}
    assert all(page.says("charged once, to") or page.says("under way") for page in pages)
    assert until_responded(lambda: shop.send(form)).says("charged once, to")
    assert Payment.objects.count() == 1
    assert charged(alice_account) == order.amount


def test_many_tabs_at_once_charge_once_and_end_on_the_result(
    shop: Visitor, order: Order, alice_account: Account
) -> None:
    tabs = [pay_form(shop, order) for _ in range(MANY)]
    assert len({tab.fields["key"] for tab in tabs}) == MANY

    pages = together(MANY, lambda n: until_responded(lambda: shop.send(tabs[n])))

    assert {page.path for page in pages} == {f"/orders/{order.pk}/"}
    assert all(page.says("charged once, to") or page.says("under way") for page in pages)
    assert Payment.objects.count() == 1
    assert StatusChange.objects.filter(order=order).count() == 2
    assert charged(alice_account) == order.amount


def test_the_same_basket_sent_many_times_at_once_is_one_order_and_ends_on_it(
    shop: Visitor, product: Product
) -> None:
    form = basket_form(shop)

    pages = together(20, lambda _: until_responded(lambda: shop.send(form)))

    assert Order.objects.count() == 1
    ends = Counter(page.path.rpartition("?")[2] for page in pages)
    assert not [page for page in pages if page.says(NOTHING_ORDERED)], ends
    assert {page.path for page in pages} == {f"/orders/{Order.objects.get().pk}/checkout/"}


def test_two_tabs_with_different_lines_at_once_are_one_order_or_none_of_the_other(
    shop: Visitor, product: Product
) -> None:
    stale = basket_form(shop)
    fresh = shop.send(Form("/basket/", stale.fields | {"quantity-TEA": "7"})).form("/order/")

    pages = together(8, lambda n: until_responded(lambda: shop.send((stale, fresh)[n % 2])))

    assert {page.status for page in pages} == {200}
    assert [order.amount for order in Order.objects.all()] == [7 * 250]


def held(server: LiveServer, point: str, click: Callable[[], Any]) -> Any:
    """Start a click that is held at a point; return its future."""
    pool = ThreadPoolExecutor(1)
    server.arm(point, "hold")
    future = pool.submit(click)
    until(lambda: server.hits(point) == 1, what=f"the click is held at {point}")
    pool.shutdown(wait=False)
    return future


def test_while_the_first_click_is_in_flight_the_page_says_so_and_then_its_result(
    server: LiveServer, shop: Visitor, order: Order, alice_account: Account
) -> None:
    form, path = pay_form(shop, order), f"/orders/{order.pk}/"
    first = held(server, "payment-decided", lambda: shop.send(form))
    try:
        meanwhile, duplicate = shop.open(path), shop.send(form)
        fragment = shop.open(f"{path}now/")
    finally:
        server.release("payment-decided")

    assert meanwhile.says("payment pending")
    assert "data-followed" in fragment.text
    assert (duplicate.path, duplicate.says("payment pending")) == (path, True)
    assert first.result(20).says("charged once, to")
    assert shop.open(f"{path}now/").says("charged once, to")
    journaled = JournaledRequest.objects.filter(subject=f"order:{order.pk}")
    until(lambda: journaled.count() == 2, what="both are journaled")
    assert [each.outcome for each in journaled.order_by("received_at")] == ["executed", "in-use"]
    assert charged(alice_account) == order.amount


def test_a_duplicate_waits_for_the_first_and_the_timeline_says_how_long(
    server: LiveServer, shop: Visitor, order: Order, alice_account: Account
) -> None:
    form = pay_form(shop, order)
    first = held(server, "payment-decided", lambda: shop.send(form))
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(shop.send, form)
        until(waiting_on_a_lock, what="the duplicate waits")
        server.release("payment-decided")
        page = second.result(20)

    assert first.result(20).says("charged once, to")
    assert page.replayed
    journaled = JournaledRequest.objects.filter(subject=f"order:{order.pk}")
    until(lambda: journaled.count() == 2, what="both are journaled")
    duplicate = journaled.get(outcome="waited")
    assert [name for name, *_ in duplicate.steps] == ["claimed", "waited", "claimed"]
    page = shop.open(f"/orders/{order.pk}/")
    assert page.says("2 clicks → 1 charge of €5.00")
    assert page.says("1 waited and got its response")
    assert charged(alice_account) == order.amount


def test_a_duplicate_of_a_basket_that_takes_long_does_not_say_that_nothing_was_ordered(
    server: LiveServer, shop: Visitor, product: Product
) -> None:
    form = basket_form(shop)
    first = held(server, "order-placed", lambda: shop.send(form))
    try:
        page = shop.send(form)
    finally:
        server.release("order-placed")

    assert first.result(20).path.endswith("/checkout/")
    assert Order.objects.count() == 1
    assert not page.says(NOTHING_ORDERED)


def test_two_orders_at_once_and_money_for_one_charge_one(
    shop: Visitor, alice: User, alice_account: Account, place: Callable[..., Order]
) -> None:
    orders = [place(customer=alice, quantity=300) for _ in range(2)]
    forms = [pay_form(shop, order) for order in orders]

    pages = together(8, lambda n: until_responded(lambda: shop.send(forms[n % 2])))

    assert {page.status for page in pages} == {200}
    assert Counter(Order.objects.values_list("status", flat=True)) == {2: 1, 3: 1}
    assert charged(alice_account) == 75_000


def test_a_page_and_the_database_that_drops_its_sessions_charge_once(
    shop: Visitor, order: Order, alice_account: Account
) -> None:
    form, drop_all = (
        pay_form(shop, order),
        (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid NOT IN (pg_backend_pid(), %s)"
        ),
    )
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        mine = cursor.fetchone()

    def drop() -> None:
        with connection.cursor() as cursor:
            cursor.execute(drop_all, mine)

    def click(number: int) -> Any:
        if number:
            return until_responded(lambda: shop.send(form))
        for _ in range(5):
            drop()
            time.sleep(0.02)
        return None

    pages = [page for page in together(9, click) if page]

    assert {page.path for page in pages} == {f"/orders/{order.pk}/"}
    assert until_responded(lambda: shop.send(form)).says("charged once, to")
    assert charged(alice_account) == order.amount
