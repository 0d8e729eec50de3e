"""From the catalogue to a paid order by forms, each sent any number of times: one charge."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models.functions import Now
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient

from idempotency import is_in_flight
from idempotency.models import Record
from idempotency.models import Token as SingleUseToken
from orders.models import Order, Product
from orders.services import pay_order
from payments.models import Account, Payment
from payments.services import open_account, pay
from shop.models import Basket
from tests.operations.test_metrics import scrape
from tests.shop.conftest import charged
from tests.support.browserless import Form, Page, Visitor, through

pytestmark = pytest.mark.django_db

RENEWED = "This page had been open for too long. Nothing was charged; here is a new one."
CHOOSE = "Choose one of your accounts. Nothing was charged."


def page_of(order: Order) -> str:
    return f"/orders/{order.pk}/"


def pay_form(shop: Visitor, order: Order) -> Form:
    """Return the form of a new checkout page."""
    return shop.open(f"{page_of(order)}checkout/").form("/pay/")


def api_path(order: Order) -> str:
    return f"/api/v1/orders/{order.pk}/pay/"


def is_paid(page: Page, order: Order) -> bool:
    """Return True for the page of an order that was paid."""
    return (page.status, page.path) == (200, page_of(order)) and page.says("charged once, to")


def test_a_customer_comes_from_the_catalogue_to_a_paid_order(
    shop: Visitor, product: Product, alice_account: Account
) -> None:
    basket = shop.send(shop.open("/").form("/basket/").filled(quantity__TEA=3))
    checkout = shop.send(basket.form("/order/"))
    paid = shop.send(checkout.form("/pay/"))

    order = Order.objects.get()
    assert basket.path == "/basket/"
    assert checkout.path == f"{page_of(order)}checkout/"
    assert is_paid(paid, order)
    assert [status for status, _ in paid.trail] == [303, 200]
    assert paid.says(f"€7.50 was charged once, to account {alice_account.pk}.")
    assert charged(alice_account) == 750


# --- Duplicates of a form


def test_a_duplicate_of_a_pay_form_ends_on_the_first_result(
    shop: Visitor, order: Order, alice_account: Account
) -> None:
    form = pay_form(shop, order)

    pages = [shop.send(form) for _ in range(4)]

    assert [page.replayed for page in pages] == [False, True, True, True]
    assert all(is_paid(page, order) for page in pages)
    assert Payment.objects.count() == 1
    assert charged(alice_account) == order.amount


def test_a_second_tab_with_a_token_of_its_own_ends_on_the_first_result(
    shop: Visitor, order: Order, alice_account: Account
) -> None:
    first, second = pay_form(shop, order), pay_form(shop, order)
    assert first.fields["key"] != second.fields["key"]

    pages = [shop.send(form) for form in (first, second, second, first)]

    assert all(is_paid(page, order) for page in pages)
    assert [page.replayed for page in pages] == [False, False, True, True]
    assert charged(alice_account) == order.amount


def test_going_back_to_the_checkout_of_a_paid_order_shows_the_result(
    shop: Visitor, order: Order, alice_account: Account
) -> None:
    shop.send(pay_form(shop, order))

    back = shop.open(f"{page_of(order)}checkout/")

    assert is_paid(back, order)
    assert is_paid(shop.open(f"{page_of(order)}pay/"), order)
    assert charged(alice_account) == order.amount


def test_reloading_the_result_pays_nothing(
    shop: Visitor, order: Order, alice_account: Account
) -> None:
    paid = shop.send(pay_form(shop, order))

    assert all(is_paid(shop.open(paid.path), order) for _ in range(3))
    assert charged(alice_account) == order.amount


def test_a_browser_that_was_closed_and_opened_again_sends_its_old_form(
    visit: Callable[[User], Visitor],
    alice: User,
    order: Order,
    alice_account: Account,
) -> None:
    form = pay_form(visit(alice), order)
    visit(alice).send(form)

    assert is_paid(visit(alice).send(form), order)
    assert charged(alice_account) == order.amount


def test_the_same_token_with_another_account_ends_on_the_first_result(
    shop: Visitor, alice: User, order: Order, alice_account: Account
) -> None:
    rich = open_account(owner=alice, currency="EUR", opening_balance=10**9)
    form = pay_form(shop, order).filled(account=alice_account.pk)
    shop.send(form)

    page = shop.send(form.filled(account=rich.pk))

    assert is_paid(page, order)
    assert page.says(f"to account {alice_account.pk}.")
    assert Account.objects.get(pk=rich.pk).balance == 10**9
    assert charged(alice_account) == order.amount


def test_a_token_that_paid_one_order_pays_no_other(
    shop: Visitor, alice: User, place: Callable[..., Order], order: Order, alice_account: Account
) -> None:
    other, form = place(customer=alice), pay_form(shop, order)
    shop.send(form)

    page = shop.send(Form(f"{page_of(other)}pay/", form.fields))

    assert page.path == page_of(other)
    assert page.says("Nothing was charged.")
    assert is_paid(shop.send(pay_form(shop, other)), other)
    assert charged(alice_account) == order.amount + other.amount


def test_a_page_that_is_read_while_the_payment_commits_does_not_say_that_nothing_was_charged(
    shop: Visitor,
    alice: User,
    order: Order,
    alice_account: Account,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    really = is_in_flight

    def just_over(**named: Any) -> bool:
        """Look up after the first click, in flight until now, has committed."""
        pay_order(customer=alice, order_id=order.pk, account_id=alice_account.pk)
        return really(**named)

    monkeypatch.setattr("shop.views.orders.is_in_flight", just_over)

    page = shop.open(page_of(order))

    assert charged(alice_account) == order.amount
    assert not page.says("Nothing was charged")


# --- One record with the API's


def test_the_api_replays_the_response_to_a_form_under_the_same_key(
    shop: Visitor, as_alice: APIClient, order: Order, alice_account: Account
) -> None:
    form = pay_form(shop, order)
    shop.send(form)

    response = as_alice.post(
        api_path(order),
        {"account": alice_account.pk},
        headers={"Idempotency-Key": form.fields["key"]},
    )

    record = Record.objects.get()
    assert (response.status_code, response["Idempotent-Replayed"]) == (200, "true")
    assert response.content == bytes(record.body or b"")
    assert charged(alice_account) == order.amount


def test_a_form_replays_the_response_to_the_api_under_the_same_key(
    shop: Visitor, as_alice: APIClient, order: Order, alice_account: Account
) -> None:
    form = pay_form(shop, order)
    first = as_alice.post(
        api_path(order),
        {"account": alice_account.pk},
        headers={"Idempotency-Key": form.fields["key"]},
    )

    page = shop.send(form)

    assert page.replayed
    assert is_paid(page, order)
    assert first.content == bytes(Record.objects.get().body or b"")
    assert charged(alice_account) == order.amount


def test_a_page_stores_what_the_api_would_respond_byte_for_byte(
    shop: Visitor, as_alice: APIClient, alice: User, order: Order, place: Callable[..., Order]
) -> None:
    shop.send(pay_form(shop, order).filled(key="by-page"))
    by_page = bytes(Record.objects.get(key="by-page").body or b"")

    duplicate = as_alice.post(
        api_path(order),
        {"account": Order.objects.get(pk=order.pk).account_id},
        headers={"Idempotency-Key": "by-page"},
    )

    shown = as_alice.get(f"/api/v1/orders/{order.pk}/")
    assert duplicate.content == by_page
    assert shown.content == by_page
    assert duplicate["Content-Type"] == shown["Content-Type"]


def test_the_api_replays_the_order_of_a_basket_under_the_baskets_id(
    shop: Visitor, as_alice: APIClient, product: Product
) -> None:
    basket = shop.send(shop.open("/").form("/basket/").filled(quantity__TEA=3))
    shop.send(basket.form("/order/"))

    response = as_alice.post(
        "/api/v1/orders/",
        {"lines": [{"sku": "TEA", "quantity": 3}]},
        headers={"Idempotency-Key": str(Basket.objects.get().pk)},
    )

    assert (response.status_code, response["Idempotent-Replayed"]) == (201, "true")
    assert response.json()["id"] == str(Order.objects.get().pk)


def test_pays_from_a_page_are_counted_as_the_apis_are(shop: Visitor, order: Order) -> None:
    before, form = scrape(), pay_form(shop, order)

    shop.send(form)
    shop.send(form)
    shop.send(form.filled(key="two"))

    grown = scrape() - before
    assert grown.value("pays_total", status="200") == 2
    assert grown.value("pays_total", status="409") == 1
    assert grown.value("replays_total", route="/orders/<uuid:order_id>/pay/") == 1


def test_a_pay_form_with_a_used_key_is_counted_as_a_conflict(
    shop: Visitor, alice: User, order: Order, place: Callable[..., Order]
) -> None:
    form, other = pay_form(shop, order), place(customer=alice)
    shop.send(form)
    before = scrape()

    shop.send(Form(f"{page_of(other)}pay/", form.fields))

    grown = scrape() - before
    assert grown.value("key_conflicts_total", problem="idempotency-key-reused") == 1
    assert grown.value("pays_total", status="303") == 0


def test_a_page_costs_no_more_statements_than_the_api_does(
    shop: Visitor,
    as_alice: APIClient,
    alice: User,
    order: Order,
    place: Callable[..., Order],
    alice_account: Account,
    settings: Any,
) -> None:
    form, other = pay_form(shop, order), place(customer=alice)
    with CaptureQueriesContext(connection) as by_api:
        as_alice.post(
            api_path(other), {"account": alice_account.pk}, headers={"Idempotency-Key": "api"}
        )
    with CaptureQueriesContext(connection) as by_page:
        shop.ask("POST", form.action, form.fields)

    # The session beside the user, and the order before its key; nothing else.
    assert len(by_page) <= len(by_api) + 2, [query["sql"] for query in by_page.captured_queries]


# --- Only one's own


@pytest.mark.parametrize("path", ["", "now/", "checkout/"])
def test_somebody_elses_order_is_not_there(
    path: str, visit: Callable[[User], Visitor], bob: User, order: Order
) -> None:
    page = visit(bob).open(page_of(order) + path)

    assert page.status == 404
    assert page.says("Nothing is here, or it is somebody else's.")
    assert not page.says("Green tea")


@pytest.mark.parametrize("path", ["pay/", "again/"])
def test_somebody_elses_order_is_neither_paid_nor_ordered_again(
    path: str,
    shop: Visitor,
    visit: Callable[[User], Visitor],
    bob: User,
    bob_account: Account,
    order: Order,
    alice_account: Account,
) -> None:
    fields = pay_form(shop, order).fields
    for account in (alice_account, bob_account):
        page = visit(bob).send(Form(page_of(order) + path, fields | {"account": str(account.pk)}))
        assert page.status == 404

    assert not Basket.objects.exists()
    assert Order.objects.get().status == Order.Status.SUBMITTED
    assert (charged(alice_account), charged(bob_account)) == (0, 0)


def test_an_order_that_is_nobodys_is_not_there(shop: Visitor) -> None:
    nowhere = f"/orders/{uuid4()}/"

    assert {shop.open(nowhere + path).status for path in ("", "now/", "checkout/")} == {404}
    assert {shop.send(Form(nowhere + path)).status for path in ("pay/", "again/")} == {404}


def test_somebody_elses_account_is_not_charged(
    shop: Visitor, order: Order, bob_account: Account, alice_account: Account
) -> None:
    page = shop.send(pay_form(shop, order).filled(account=bob_account.pk))

    assert page.path == f"{page_of(order)}checkout/?note=account"
    assert page.says(CHOOSE)
    assert is_paid(shop.send(page.form("/pay/")), order)
    assert charged(bob_account) == 0
    assert charged(alice_account) == order.amount


def test_an_account_in_another_currency_is_not_charged_and_the_token_stays_good(
    shop: Visitor, alice: User, order: Order, alice_account: Account
) -> None:
    dollars = open_account(owner=alice, currency="USD", opening_balance=10**6)
    form = pay_form(shop, order)

    page = shop.send(form.filled(account=dollars.pk))

    assert page.says(CHOOSE)
    assert str(dollars.pk) not in {form.fields.get("account") for form in page.forms}
    assert is_paid(shop.send(form), order)
    assert Account.objects.get(pk=dollars.pk).balance == 10**6
    assert charged(alice_account) == order.amount


@pytest.mark.parametrize(
    "account", ["", "0", "-1", "1.5", "abc", "\0", "９", "1" * 19, "9" * 30, "1e3", " 1", "²"]
)
def test_what_is_no_account_number_charges_nothing(
    account: str, shop: Visitor, order: Order, alice_account: Account
) -> None:
    page = shop.send(pay_form(shop, order).filled(account=account))

    assert (page.status, page.path) == (200, f"{page_of(order)}checkout/?note=account")
    assert page.says(CHOOSE)
    assert charged(alice_account) == 0


def test_the_checkout_says_so_if_there_is_no_account_in_the_currency(
    shop: Visitor, alice: User, place: Callable[..., Order]
) -> None:
    order = place(customer=alice)

    page = shop.open(f"{page_of(order)}checkout/")

    assert page.says("You have no account in EUR.")
    assert not [form for form in page.forms if form.action.endswith("/pay/")]


# --- Tokens


@pytest.mark.parametrize("key", ["", "tok_made-up", "x" * 256, "with space", "é", "tok_"])
def test_what_is_no_key_renews_the_page(
    key: str, shop: Visitor, order: Order, alice_account: Account
) -> None:
    page = shop.send(pay_form(shop, order).filled(key=key))

    assert (page.status, page.path) == (200, f"{page_of(order)}checkout/?note=renewed")
    assert page.says(RENEWED)
    assert charged(alice_account) == 0
    assert is_paid(shop.send(page.form("/pay/")), order)


def test_a_token_of_somebody_else_is_no_key(
    shop: Visitor,
    visit: Callable[[User], Visitor],
    bob: User,
    bob_account: Account,
    order: Order,
    place: Callable[..., Order],
    alice_account: Account,
) -> None:
    bobs = pay_form(visit(bob), place(customer=bob))

    page = shop.send(pay_form(shop, order).filled(key=bobs.fields["key"]))

    assert page.says(RENEWED)
    assert charged(alice_account) == 0


def test_an_expired_token_renews_the_page_and_charges_with_the_new_one(
    shop: Visitor, order: Order, alice_account: Account
) -> None:
    form = pay_form(shop, order)
    ago = timezone.now() - timedelta(days=1)
    SingleUseToken.objects.update(issued_at=ago - timedelta(hours=1), expires_at=ago)

    page = shop.send(form)

    assert page.says(RENEWED)
    assert charged(alice_account) == 0
    assert is_paid(shop.send(page.form("/pay/")), order)
    assert charged(alice_account) == order.amount


def test_an_expired_token_of_an_order_that_is_paid_ends_on_the_result(
    shop: Visitor, order: Order, alice_account: Account
) -> None:
    old, form = pay_form(shop, order), pay_form(shop, order)
    shop.send(form)
    ago = timezone.now() - timedelta(days=1)
    SingleUseToken.objects.update(issued_at=ago - timedelta(hours=1), expires_at=ago)

    assert is_paid(shop.send(old), order)
    assert charged(alice_account) == order.amount


def test_a_form_whose_response_was_purged_ends_on_the_result(
    shop: Visitor, order: Order, alice_account: Account
) -> None:
    form = pay_form(shop, order)
    shop.send(form)
    Record.objects.update(status=None, body=None, retained_until=Now())  # as the purge does

    assert is_paid(shop.send(form), order)
    assert charged(alice_account) == order.amount


@pytest.mark.django_db(transaction=True)
def test_a_key_that_no_database_can_store_renews_the_page(
    shop: Visitor, order: Order, alice_account: Account
) -> None:
    page = shop.send(pay_form(shop, order).filled(key="\0"))

    assert page.says(RENEWED)
    assert charged(alice_account) == 0


@pytest.mark.django_db(transaction=True)
def test_a_key_that_is_no_text_renews_the_page(
    alice: User, order: Order, alice_account: Account, settings: Any
) -> None:
    client = Client()
    client.force_login(alice)
    given = {"key": "\\ud800", "account": str(alice_account.pk)}
    parts = [
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in given.items()
    ]

    response = client.generic(
        "POST",
        f"{page_of(order)}pay/",
        f"{''.join(parts)}--b--\r\n",
        "multipart/form-data; boundary=b; charset=raw_unicode_escape",
    )

    assert response.headers["Location"] == f"{page_of(order)}checkout/?note=renewed"
    assert charged(alice_account) == 0


# --- Declined


def test_a_declined_payment_says_so_to_every_duplicate(
    shop: Visitor, alice: User, place: Callable[..., Order], alice_account: Account
) -> None:
    dear = place(customer=alice, quantity=1000)
    form = pay_form(shop, dear)

    pages = [shop.send(each) for each in (form, form, form.filled(key="another"))]

    for page in pages:
        assert page.path == page_of(dear)
        assert page.says(
            f"Account {alice_account.pk} doesn't hold enough money. Nothing was charged"
        )
    assert charged(alice_account) == 0


def test_an_order_that_failed_is_not_paid_from_a_rich_account_after_all(
    shop: Visitor, alice: User, place: Callable[..., Order], alice_account: Account
) -> None:
    dear = place(customer=alice, quantity=1000)
    form = pay_form(shop, dear)
    shop.send(form)
    rich = open_account(owner=alice, currency="EUR", opening_balance=10**9)

    for key in (form.fields["key"], "a-new-key"):
        page = shop.send(form.filled(account=rich.pk, key=key))
        assert page.says("Nothing was charged")

    assert Order.objects.get().status == Order.Status.FAILED
    assert Account.objects.get(pk=rich.pk).balance == 10**9
    assert charged(alice_account) == 0


def test_ordering_again_fills_the_basket_with_the_same_however_often(
    shop: Visitor, alice: User, place: Callable[..., Order], alice_account: Account
) -> None:
    dear = place(customer=alice, quantity=1000)
    failed = shop.send(pay_form(shop, dear))

    pages = [shop.send(failed.form("/again/")) for _ in range(3)]

    assert {page.path for page in pages} == {"/basket/"}
    assert Basket.objects.get().lines == {"TEA": 1000}
    assert Order.objects.count() == 1


# --- Not signed in


@pytest.mark.parametrize(
    "path",
    [
        "basket/",
        "orders/",
        "orders/{order}/",
        "orders/{order}/now/",
        "orders/{order}/checkout/",
    ],
)
def test_who_is_not_signed_in_is_asked_to_and_comes_back(
    path: str, alice: User, order: Order
) -> None:
    alice.set_password("right-password")
    alice.save()
    visitor, path = through(Client()), f"/{path.format(order=order.pk)}"

    sign_in = visitor.open(path)
    form = next(form for form in sign_in.forms if "password" in form.fields)
    back = visitor.send(
        Form(sign_in.path, form.fields | {"username": "alice", "password": "right-password"})
    )

    assert sign_in.path == f"/sign-in/?next={path}"
    assert (back.status, back.path) == (200, path)


def test_who_pays_without_being_signed_in_comes_back_to_the_checkout(
    visit: Callable[[User], Visitor], alice: User, order: Order, alice_account: Account
) -> None:
    alice.set_password("right-password")
    alice.save()
    form, stranger = pay_form(visit(alice), order), through(Client())

    sign_in = stranger.send(form)
    assert sign_in.path == f"/sign-in/?next={page_of(order)}pay/"
    assert charged(alice_account) == 0
    signed = {"username": "alice", "password": "right-password", "next": f"{page_of(order)}pay/"}
    back = stranger.send(Form(sign_in.path, signed))

    assert back.path == f"{page_of(order)}checkout/"
    assert is_paid(stranger.send(back.form("/pay/")), order)
    assert is_paid(stranger.send(form), order)
    assert charged(alice_account) == order.amount


@pytest.mark.parametrize("path", ["/basket/", "/basket/{id}/order/", "/orders/{id}/again/"])
def test_a_form_of_somebody_who_is_not_signed_in_does_nothing_and_leads_to_sign_in(
    path: str, order: Order
) -> None:
    page = through(Client()).send(Form(path.format(id=order.pk), {"quantity-TEA": "1"}))

    assert page.path.startswith("/sign-in/?next=/")
    assert not Basket.objects.exists()


@pytest.mark.parametrize("path", ["/basket/{id}/order/", "/orders/{id}/again/"])
def test_coming_back_from_sign_in_to_a_forms_address_is_no_error(
    path: str, shop: Visitor, order: Order
) -> None:
    page = shop.open(path.format(id=order.pk))

    assert page.status == 200
    assert Order.objects.count() == 1


# --- The list of orders


def test_the_list_of_orders_shows_ones_own_newest_first_a_page_at_a_time(
    shop: Visitor, alice: User, bob: User, place: Callable[..., Order]
) -> None:
    mine = [place(customer=alice, quantity=n + 1) for n in range(45)]
    others = place(customer=bob)
    seen: list[str] = []
    path = "/orders/"
    for _ in range(3):
        page = shop.open(path)
        seen += [str(order.pk) for order in reversed(mine) if f"/orders/{order.pk}/" in page.text]
        assert str(others.pk) not in page.text
        older = page.text.partition('href="?before=')[2].partition('"')[0]
        path = f"/orders/?before={older}"

    assert not older
    assert seen == [str(order.pk) for order in reversed(mine)]


@pytest.mark.parametrize("before", ["", "x", "\0", "1", "0" * 32, "%00", "f" * 32])
def test_a_place_in_the_list_that_makes_no_sense_is_no_error(
    before: str, shop: Visitor, order: Order
) -> None:
    assert shop.open(f"/orders/?before={before}").status == 200


@pytest.mark.parametrize("path", ["/basket/", "/orders/{order}/checkout/"])
def test_a_page_says_nothing_that_its_address_made_up(
    path: str, shop: Visitor, order: Order
) -> None:
    page = shop.open(f"{path.format(order=order.pk)}?note=made-up")

    assert page.status == 200
    assert 'role="status"><p>' not in page.text


# --- On other terms


def test_an_order_that_was_paid_past_the_shop_on_other_terms_is_not_charged_again(
    shop: Visitor, alice: User, order: Order, alice_account: Account
) -> None:
    rich = open_account(owner=alice, currency="EUR", opening_balance=10**9)
    form = pay_form(shop, order).filled(account=alice_account.pk)
    with connection.cursor() as cursor:  # as in a database from before the guards
        cursor.execute("ALTER TABLE payments_payment DISABLE TRIGGER USER")
    pay(order_id=order.pk, account_id=rich.pk, amount=order.amount, currency="EUR")

    page = shop.send(form)

    assert page.says("This order's payment was made on other terms. Nothing was charged.")
    assert charged(alice_account) == 0


@pytest.mark.parametrize("path", ["orders/", "orders/{order}/", "orders/{order}/now/"])
def test_a_page_that_only_shows_takes_no_form(path: str, shop: Visitor, order: Order) -> None:
    assert shop.ask("POST", f"/{path.format(order=order.pk)}", {})[0] == 405


def test_a_form_for_the_checkout_is_issued_no_token(shop: Visitor, order: Order) -> None:
    assert shop.ask("POST", f"{page_of(order)}checkout/", {})[0] == 405
    assert not SingleUseToken.objects.exists()


@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_other_methods_are_no_error_and_do_nothing(
    method: str, shop: Visitor, order: Order, alice_account: Account
) -> None:
    fields = pay_form(shop, order).fields
    paths = ["", "now/", "checkout/", "pay/", "again/"]
    for path in ["/", "/basket/", "/orders/", *(page_of(order) + each for each in paths)]:
        assert shop.ask(method, path, fields)[0] < 500

    assert Order.objects.get().status == Order.Status.SUBMITTED
    assert not Basket.objects.exists()
    assert charged(alice_account) == 0
