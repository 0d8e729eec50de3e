"""The timeline on an order's page: the clicks that reached the server, and who sees what."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.db import DatabaseError
from django.test import Client
from rest_framework.test import APIClient

from idempotency import errors
from orders.models import Order, Product
from payments.models import Account, Entry
from payments.services import open_account
from shop.clicks import shorten_key
from shop.models import Basket, Click
from shop.timeline import timeline_of
from tests.shop.conftest import charged
from tests.support.browserless import Form, Page, Visitor, through
from tests.support.records import make_record

pytestmark = pytest.mark.django_db

FIRST_PAYMENT = [
    "claimed",
    "0→1",
    "charged",
    "1→2",
    "token-and-response",
]
FIRST_ORDER = ["claimed", "order-placed", "basket-ordered", "response-stored"]


@pytest.fixture(autouse=True)
def _record_clicks(settings: Any) -> None:
    settings.RECORD_CLICKS = True


@pytest.fixture
def form(shop: Visitor, order: Order) -> Form:
    return shop.open(f"/orders/{order.pk}/checkout/").form("/pay/")


def outcomes_of(order: Order) -> list[tuple[str, str]]:
    return list(
        Click.objects.filter(order_id=order.pk).order_by("id").values_list("outcome", "reason")
    )


def statements_of(click: Click) -> list[str]:
    return [name for name, _rows, _ms in click.statements]


def test_the_first_payment_is_shown_statement_by_statement(
    shop: Visitor, form: Form, order: Order
) -> None:
    page = shop.send(form)

    click = Click.objects.get()
    assert statements_of(click) == FIRST_PAYMENT
    assert click.responded_at is not None
    assert outcomes_of(order) == [("executed", "")]
    assert page.says("executed")
    assert page.says("and the money was there: yes")
    assert not page.says("all of this is one commit: yes"), "nothing was decided there"


def test_the_first_order_is_shown_statement_by_statement(shop: Visitor, product: Product) -> None:
    basket = shop.send(shop.open("/").form("/basket/").filled(quantity__TEA=2))
    shop.send(basket.form("/order/"))

    click, order = Click.objects.get(), Order.objects.get()
    assert statements_of(click) == FIRST_ORDER
    assert click.order_id == order.pk
    assert [event.what for event in timeline_of(order)] == ["Click on “Place the order”", "placed"]


def test_a_duplicate_is_shown_with_its_lookup_only(shop: Visitor, form: Form, order: Order) -> None:
    shop.send(form)
    page = shop.send(form)

    assert outcomes_of(order) == [("executed", ""), ("replayed", "")]
    assert statements_of(Click.objects.order_by("id")[1]) == ["claimed"]
    assert page.says("replayed: got the first response")


def test_a_duplicate_of_a_basket_is_shown_with_its_lookup_only(
    shop: Visitor, product: Product
) -> None:
    form = shop.send(Form("/basket/", {"quantity-TEA": "2"})).form("/order/")
    for _ in range(2):
        shop.send(form)

    assert outcomes_of(Order.objects.get()) == [("executed", ""), ("replayed", "")]
    assert statements_of(Click.objects.order_by("id")[1]) == ["claimed"]


def test_a_second_tab_is_shown_with_the_race_that_it_lost(
    shop: Visitor, form: Form, order: Order
) -> None:
    shop.send(form)
    page = shop.send(form.filled(key="a-second-tab"))

    assert outcomes_of(order)[1] == ("refused", "order-already-paid")
    assert statements_of(Click.objects.order_by("id")[1]) == [
        "claimed",
        "0→1",
        "1→1",
        "response-stored",
    ]
    assert page.says("Order from submitted to paying, if it is still submitted: no")
    assert page.says("the order was paid already")


def test_a_duplicate_of_a_refusal_is_shown_as_replayed(
    shop: Visitor, form: Form, order: Order
) -> None:
    shop.send(form)
    for _ in range(2):
        shop.send(form.filled(key="a-second-tab"))

    assert outcomes_of(order)[1:] == [("refused", "order-already-paid"), ("replayed", "")]


def test_refused_clicks_say_why(
    shop: Visitor, form: Form, order: Order, bob_account: Account
) -> None:
    shop.send(form.filled(key="tok_made-up"))
    shop.send(form.filled(account="nonsense"))
    shop.send(form.filled(account=bob_account.pk))
    shop.send(form)
    shop.send(form.filled(account=bob_account.pk))

    assert outcomes_of(order) == [
        ("refused", "idempotency-key-invalid"),
        ("refused", "account"),
        ("refused", "account"),
        ("executed", ""),
        ("refused", "idempotency-key-reused"),
    ]


def test_a_declined_payment_is_shown_as_executed_and_where_it_was_decided(
    shop: Visitor, alice: User, place: Callable[..., Order], alice_account: Account
) -> None:
    dear = place(customer=alice, quantity=1000)
    page = shop.send(shop.open(f"/orders/{dear.pk}/checkout/").form("/pay/"))

    assert outcomes_of(dear) == [("executed", "")]
    assert page.says("and the money was there: no")
    assert page.says("payment declined")
    assert "1→3" in statements_of(Click.objects.get())


def test_a_click_whose_process_failed_is_shown_as_refused(
    shop: Visitor, form: Form, order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_args: object, **_kwargs: object) -> Any:
        raise errors.RecordUnreadable

    with monkeypatch.context() as patch:
        patch.setattr("orders.once.respond_once", failing)
        page = shop.send(form)

    assert outcomes_of(order) == [("refused", "idempotency-record-unreadable")]
    assert page.says("refused: ")


def test_a_click_without_a_response_is_shown_as_such(
    shop: Visitor, alice: User, order: Order
) -> None:
    Click.objects.create(customer=alice, action="pay", order_id=order.pk, key="tok_12345678…")

    page = shop.open(f"/orders/{order.pk}/")

    assert page.says("no response yet")
    assert page.says("its process may have been killed")


def test_a_click_that_has_had_no_response_for_long_is_given_up(
    shop: Visitor, alice: User, order: Order
) -> None:
    click = Click.objects.create(customer=alice, action="pay", order_id=order.pk, key="k")
    Click.objects.filter(pk=click.pk).update(received_at=click.received_at - timedelta(hours=1))

    assert shop.open(f"/orders/{order.pk}/").says("no response within a minute")


def test_requests_over_the_api_are_shown_beside_the_clicks(
    shop: Visitor, as_alice: APIClient, form: Form, order: Order
) -> None:
    shop.send(form)
    as_alice.post(
        f"/api/v1/orders/{order.pk}/pay/",
        {"account": form.fields["account"]},
        headers={"Idempotency-Key": "by-api"},
    )

    shown = [event.what for event in timeline_of(order)]

    assert shown.count("response 409") == 1
    assert shown.count("Click on “Pay”") == 1
    assert "response 200" not in shown, "a click is shown once"


def test_a_request_id_that_is_reused_hides_nothing(
    alice: User, as_alice: APIClient, order: Order, form: Form
) -> None:
    client, named = Client(), {"X-Request-Id": "mine"}
    client.force_login(alice)
    as_alice.post(
        f"/api/v1/orders/{order.pk}/pay/",
        {"account": form.fields["account"]},
        headers={"Idempotency-Key": "by-api"} | named,
    )
    client.post(form.action, form.fields, headers=named)

    assert "response 200" in [event.what for event in timeline_of(order, for_staff=True)]


# --- Who sees what


def test_a_key_is_shown_by_its_beginning_only(shop: Visitor, form: Form) -> None:
    page, token = shop.send(form), form.fields["key"]

    assert f"{token[:12]}…" in page.text
    assert token not in page.text


def test_a_key_is_shown_by_its_beginning_only_where_no_clicks_are_recorded(
    shop: Visitor, form: Form, settings: Any
) -> None:
    settings.RECORD_CLICKS = False

    page, token = shop.send(form), form.fields["key"]

    assert token[:12] in page.text
    assert token not in page.text


def test_a_customer_sees_the_own_leg_of_a_movement_and_staff_both(
    shop: Visitor, form: Form, order: Order, alice_account: Account
) -> None:
    page = shop.send(form)
    settlement = Entry.objects.exclude(account=alice_account).get().account_id

    theirs = " ".join(event.details for event in timeline_of(order))
    ours = " ".join(event.details for event in timeline_of(order, for_staff=True))

    assert f"on account {alice_account.pk}" in theirs
    assert f"on account {settlement}" not in theirs
    assert not page.says(f"on account {settlement}")
    assert f"on account {settlement}" in ours


def test_a_customer_sees_neither_who_of_the_staff_acted_nor_links_into_the_admin(
    shop: Visitor, form: Form, order: Order
) -> None:
    shop.send(form)
    boss = User.objects.create_superuser("theboss")
    of_orders = ContentType.objects.get_for_model(Order)
    LogEntry.objects.create(
        user=boss,
        content_type=of_orders,
        object_id=str(order.pk),
        action_flag=CHANGE,
        change_message="Paid.",
    )
    page = shop.open(f"/orders/{order.pk}/")

    assert page.says("Paid.")
    assert "theboss" not in page.text
    assert "/admin/" not in page.text
    assert not any(event.url for event in timeline_of(order))
    assert "theboss" in " ".join(event.what for event in timeline_of(order, for_staff=True))


def test_a_customer_sees_neither_the_keys_nor_the_names_of_the_staff(
    shop: Visitor, form: Form, order: Order
) -> None:
    boss = User.objects.create_superuser("theboss")
    of_orders = ContentType.objects.get_for_model(Order)
    LogEntry.objects.create(
        user=boss, content_type=of_orders, object_id=str(order.pk), action_flag=CHANGE
    )
    make_record(boss, "the-staffs-own-key-of-this", subject=f"order:{order.pk}")

    text = shop.open(f"/orders/{order.pk}/").text

    assert "the-staffs-o…" in text
    assert "the-staffs-own-key-of-this" not in text
    assert "theboss" not in text


def test_what_staff_did_to_another_kind_of_row_is_not_shown_on_an_order(
    alice: User, order: Order
) -> None:
    of_baskets = ContentType.objects.get_for_model(Basket)
    LogEntry.objects.create(
        user=alice, content_type=of_baskets, object_id=str(order.pk), action_flag=CHANGE
    )

    assert [event.what for event in timeline_of(order)] == ["placed"]


def test_a_click_of_somebody_else_under_the_same_key_is_not_shown(
    alice: User, bob: User, order: Order
) -> None:
    basket = Basket.objects.create(customer=alice, order=order)
    for customer in (alice, bob):
        Click.objects.create(customer=customer, action="place", key=shorten_key(str(basket.pk)))

    assert [event.what for event in timeline_of(order)] == ["Click on “Place the order”", "placed"]


def test_the_clicks_of_one_order_are_not_shown_on_another(
    shop: Visitor, alice: User, form: Form, place: Callable[..., Order]
) -> None:
    shop.send(form)

    assert [event.what for event in timeline_of(place(customer=alice))] == ["placed"]


# --- Not recorded


def test_where_no_clicks_are_recorded_the_order_is_paid(
    shop: Visitor, form: Form, order: Order, settings: Any, alice_account: Account
) -> None:
    settings.RECORD_CLICKS = False

    pages = [shop.send(form) for _ in range(2)]

    assert Click.objects.count() == 0
    assert all(page.says("charged once, to") for page in pages)
    assert charged(alice_account) == order.amount


@pytest.mark.parametrize("half", ["create", "filter"])
def test_a_click_that_cant_be_recorded_pays_all_the_same(
    half: str,
    shop: Visitor,
    form: Form,
    order: Order,
    alice_account: Account,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(**_: object) -> Any:
        raise DatabaseError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(f"shop.clicks.Click.objects.{half}", broken)
        status, headers, _text = shop.ask("POST", form.action, form.fields)

    assert (status, headers["Location"]) == (303, f"/orders/{order.pk}/")
    assert charged(alice_account) == order.amount


def test_a_script_in_a_name_is_shown_and_not_run(
    shop: Visitor, alice: User, product: Product, alice_account: Account
) -> None:
    script = "<script>alert(1)</script>"
    Product.objects.update(name=script)
    pages: list[Page] = [shop.open("/")]
    pages.append(shop.send(pages[0].form("/basket/").filled(quantity__TEA=2)))
    pages.append(shop.send(pages[1].form("/order/")))
    pages.append(shop.send(pages[2].form("/pay/")))
    pages += [shop.open("/orders/"), through(Client()).open("/")]

    assert not [page.path for page in pages if script in page.text]
    assert all("&lt;script&gt;" in page.text for page in pages)


def test_a_script_in_a_sku_is_shown_and_not_run(
    shop: Visitor, alice: User, product: Product
) -> None:
    script = '"><script>alert(1)</script>'
    Product.objects.update(sku=script)
    basket = shop.send(Form("/basket/", {f"quantity-{script}": "1"}))
    pages = [shop.open("/"), basket]
    Product.objects.update(sku="TEA")
    pages.append(shop.open("/basket/"))

    assert pages[-1].says("is not sold any more")
    assert not [page.path for page in pages if script in page.text]
    assert all("&quot;&gt;&lt;script&gt;" in page.text for page in pages)


def test_a_timeline_with_many_clicks_says_that_it_leaves_some_out(
    shop: Visitor, form: Form, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shop.timeline.REQUESTS_SHOWN_MAX", 3)

    pages = [shop.send(form) for _ in range(4)]

    left_out = "later requests are not shown"
    assert [page.says(left_out) for page in pages] == [False, False, True, True]


def test_an_account_whose_number_looks_like_a_status_does_not_confuse_the_timeline(
    shop: Visitor, alice: User, place: Callable[..., Order]
) -> None:
    open_account(owner=alice, currency="EUR", opening_balance=0)
    number = min({1, 2, 3} - set(Account.objects.values_list("pk", flat=True)))
    account = Account(owner=alice, currency="EUR", opening_balance=10**6, balance=10**6)
    account.pk = number
    account.save(force_insert=True)
    order = place(customer=alice)

    shop.send(shop.open(f"/orders/{order.pk}/checkout/").form("/pay/").filled(account=number))

    assert statements_of(Click.objects.get()) == FIRST_PAYMENT
