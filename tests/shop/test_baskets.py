"""A basket is set, not added to, and becomes one order: in however many tabs it is open."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from django.test import Client
from rest_framework.test import APIClient

from idempotency.models import Record
from orders.models import Order, OrderLine, Product
from orders.services import Line, place_order
from payments.models import Account
from shop import baskets
from shop.models import Basket
from tests.support.browserless import Form, Visitor, through
from tests.support.together import together

pytestmark = pytest.mark.django_db

CHANGED = "The basket was changed in another tab. Nothing was ordered; please check it."
UNORDERABLE = "Something in the basket can't be ordered any more. Nothing was ordered."
QUANTITY = "A quantity is a whole number from 0 to 1000. Nothing was changed."
ONE_CURRENCY = "An order has one currency, and the basket has USD, EUR."


@pytest.fixture
def cup(db: None) -> Product:
    return Product.objects.create(sku="CUP", name="Cup", price=1_200, currency="EUR")


@pytest.fixture
def book(db: None) -> Product:
    return Product.objects.create(sku="BOOK", name="Book", price=1_500, currency="USD")


def quantities(**by_sku: object) -> Form:
    """Return a form that sets quantities by sku."""
    return Form("/basket/", {f"quantity-{sku}": str(value) for sku, value in by_sku.items()})


def lines_of(user: User) -> Any:
    return Basket.objects.get(customer=user, order=None).lines


# --- Filling


def test_a_basket_that_is_set_twice_holds_the_same_quantities(
    shop: Visitor, alice: User, product: Product, cup: Product
) -> None:
    form = shop.open("/").form("/basket/").filled(quantity__TEA=3, quantity__CUP=1)

    pages = [shop.send(form) for _ in range(3)]

    assert {page.path for page in pages} == {"/basket/"}
    assert all(page.says("€19.50") for page in pages)
    assert lines_of(alice) == {"TEA": 3, "CUP": 1}


def test_a_quantity_of_nothing_takes_a_line_out(
    shop: Visitor, alice: User, product: Product, cup: Product
) -> None:
    shop.send(quantities(TEA=3, CUP=1))

    page = shop.send(quantities(CUP=0))
    empty = shop.send(quantities(TEA=""))

    assert not page.says("Cup")
    assert empty.says("The basket is empty.")
    assert lines_of(alice) == {}


def test_the_catalogue_shows_what_is_in_the_basket(shop: Visitor, product: Product) -> None:
    shop.send(quantities(TEA=7))

    assert shop.open("/").form("/basket/").fields["quantity-TEA"] == "7"


@pytest.mark.parametrize(
    "quantity",
    ["two", "-1", "1001", "1.5", "\0", "9" * 19, "9" * 4000, "１", "²", " 1", "1e2", "+1"],
)
def test_a_quantity_that_is_none_changes_nothing(
    quantity: str, shop: Visitor, alice: User, product: Product
) -> None:
    shop.send(quantities(TEA=2))

    page = shop.send(quantities(TEA=quantity))

    assert (page.status, page.path) == (200, "/basket/?note=quantity")
    assert page.says(QUANTITY)
    assert lines_of(alice) == {"TEA": 2}


def test_a_sku_that_no_database_can_store_changes_nothing(shop: Visitor) -> None:
    page = shop.send(quantities(**{"T\0A": 1}))

    assert page.says(QUANTITY)
    assert not Basket.objects.exists()


def test_a_name_that_is_no_text_is_no_error(alice: User, product: Product) -> None:
    client = Client(raise_request_exception=False)
    client.force_login(alice)
    part = '--b\r\nContent-Disposition: form-data; name="quantity-\\ud800"\r\n\r\n1\r\n--b--\r\n'

    response = client.generic(
        "POST", "/basket/", part, "multipart/form-data; boundary=b; charset=raw_unicode_escape"
    )

    assert response.status_code < 500


@pytest.mark.django_db(transaction=True)
def test_a_basket_that_is_set_by_many_tabs_at_once_is_one_basket(
    alice: User, product: Product
) -> None:
    def fill(number: int) -> None:
        baskets.fill(customer=alice, quantities={"TEA": number + 1})

    together(12, fill)

    assert Basket.objects.count() == 1
    assert lines_of(alice)["TEA"] in range(1, 13)


def test_the_database_keeps_a_customer_to_one_open_basket(alice: User) -> None:
    Basket.objects.create(customer=alice)

    with pytest.raises(IntegrityError, match="shop_basket_one_open"), transaction.atomic():
        Basket.objects.create(customer=alice)


def test_the_database_keeps_an_order_to_one_basket(alice: User, order: Order) -> None:
    Basket.objects.create(customer=alice, order=order)

    with pytest.raises(IntegrityError, match="order_id"), transaction.atomic():
        Basket.objects.create(customer=alice, order=order)


def test_a_customer_keeps_the_baskets_that_became_orders(
    shop: Visitor, alice: User, product: Product
) -> None:
    for number in (1, 2, 3):
        shop.send(shop.send(quantities(TEA=number)).form("/order/"))

    assert Basket.objects.filter(customer=alice).exclude(order=None).count() == 3
    assert Order.objects.count() == 3
    assert shop.open("/basket/").says("The basket is empty.")


# --- Ordering


def test_a_basket_that_is_ordered_many_times_is_one_order(shop: Visitor, product: Product) -> None:
    form = shop.send(quantities(TEA=2)).form("/order/")

    pages = [shop.send(form) for _ in range(4)]

    checkout = f"/orders/{Order.objects.get().pk}/checkout/"
    assert {(page.status, page.path) for page in pages} == {(200, checkout)}
    assert [page.replayed for page in pages] == [False, True, True, True]
    assert [page.trail[0][0] for page in pages] == [303] * 4


def test_a_basket_whose_response_was_purged_leads_to_its_order(
    shop: Visitor, product: Product
) -> None:
    form = shop.send(quantities(TEA=2)).form("/order/")
    shop.send(form)
    Record.objects.update(status=None, body=None, retained_until=Now())  # as the purge does

    assert shop.send(form).path == f"/orders/{Order.objects.get().pk}/checkout/"


def test_a_second_tab_with_the_same_basket_leads_to_the_same_order(
    shop: Visitor, product: Product
) -> None:
    shop.send(quantities(TEA=2))
    tabs = [shop.open("/basket/").form("/order/") for _ in range(2)]

    pages = [shop.send(tab) for tab in tabs]

    assert len({page.path for page in pages}) == 1
    assert Order.objects.count() == 1


def test_a_tab_that_shows_other_lines_orders_nothing(
    shop: Visitor, alice: User, product: Product
) -> None:
    stale = shop.send(quantities(TEA=2)).form("/order/")
    fresh = shop.send(quantities(TEA=500)).form("/order/")

    page = shop.send(stale)

    assert page.path == "/basket/?note=changed"
    assert page.says(CHANGED)
    assert (Order.objects.count(), Record.objects.count()) == (0, 0)
    assert shop.send(fresh).path == f"/orders/{Order.objects.get().pk}/checkout/"
    assert shop.send(stale).path == f"/orders/{Order.objects.get().pk}/checkout/"
    assert Order.objects.get().amount == 125_000


def test_a_form_that_does_not_say_what_was_seen_orders_nothing(
    shop: Visitor, product: Product
) -> None:
    form = shop.send(quantities(TEA=2)).form("/order/")

    for seen in ("", "0" * 16, "\0"):
        assert shop.send(form.filled(seen=seen)).says(CHANGED)
    assert not Order.objects.exists()


def test_a_basket_that_is_changed_while_it_is_ordered_is_not_ordered(
    shop: Visitor, alice: User, product: Product, at_failpoint: Callable[..., None]
) -> None:
    form = shop.send(quantities(TEA=2)).form("/order/")
    at_failpoint("order-placed", lambda: baskets.fill(customer=alice, quantities={"TEA": 1000}))

    page = shop.send(form)

    assert page.says(CHANGED)
    assert (Order.objects.count(), OrderLine.objects.count()) == (0, 0)


def test_a_basket_that_another_key_orders_meanwhile_is_not_ordered_twice(
    alice: User, product: Product, at_failpoint: Callable[..., None]
) -> None:
    baskets.fill(customer=alice, quantities={"TEA": 2})
    basket = baskets.open_basket(customer=alice)
    assert basket is not None
    at_failpoint("order-placed", lambda: baskets.make_order(basket))

    with pytest.raises(baskets.BasketChanged), transaction.atomic():
        baskets.make_order(basket)

    assert Order.objects.count() == Basket.objects.exclude(order=None).count() == 0


def test_a_basket_is_ordered_by_one_of_two_calls(alice: User, product: Product) -> None:
    baskets.fill(customer=alice, quantities={"TEA": 2})
    basket = baskets.open_basket(customer=alice)
    assert basket is not None
    order = baskets.make_order(basket)

    with pytest.raises(baskets.BasketChanged), transaction.atomic():
        baskets.make_order(basket)

    assert Basket.objects.get().order == order
    assert Order.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_two_tabs_that_order_and_change_at_once_order_what_one_of_them_saw(
    alice: User, product: Product
) -> None:
    clients = [Client(), Client()]
    for client in clients:
        client.force_login(alice)
    tabs = [through(client) for client in clients]
    for _ in range(8):
        Basket.objects.filter(order=None).delete()
        form = tabs[0].send(quantities(TEA=2)).form("/order/")
        placed = Order.objects.count()

        def click(number: int, form: Form = form) -> Any:
            return tabs[number].send(form if number == 0 else quantities(TEA=9))

        together(2, click)

        ordered = list(Order.objects.order_by("-id")[: Order.objects.count() - placed])
        assert [order.amount for order in ordered] in ([], [500])
        assert Basket.objects.filter(order=None, lines={"TEA": 9}).count() == 1


def test_a_price_that_changed_since_the_basket_was_shown_is_what_the_checkout_asks_for(
    shop: Visitor, product: Product, alice_account: Account
) -> None:
    form = shop.send(quantities(TEA=2)).form("/order/")
    Product.objects.update(price=999)

    checkout = shop.send(form)

    assert Order.objects.get().amount == 1_998
    assert checkout.says("Pay €19.98")


def test_a_price_that_changes_after_the_order_changes_nothing(
    shop: Visitor, product: Product, alice_account: Account
) -> None:
    form = shop.send(quantities(TEA=2)).form("/order/")
    shop.send(form)
    Product.objects.update(price=999)

    assert shop.send(form).says("Pay €5.00")
    assert Order.objects.get().amount == 500


# --- What can't be ordered


def test_an_empty_choice_says_so_and_emptying_a_basket_does_not(
    shop: Visitor, product: Product
) -> None:
    nothing = "Nothing was chosen"
    assert shop.send(quantities(TEA=0)).says(nothing)
    filled = shop.send(quantities(TEA=2))
    assert not filled.says(nothing)
    emptied = shop.send(filled.form("/basket/").filled(quantity__TEA=0))
    assert emptied.says("The basket is empty.")
    assert not emptied.says(nothing)


def test_a_basket_in_two_currencies_says_so_and_is_not_ordered(
    shop: Visitor, product: Product, book: Product
) -> None:
    form = shop.send(quantities(TEA=2)).form("/order/")

    page = shop.send(quantities(BOOK=1))
    sent = shop.send(form.filled(seen=baskets.digest(Basket.objects.get())))

    assert page.says(ONE_CURRENCY)
    assert page.says("€5.00")
    assert page.says("$15.00")
    assert not [each for each in page.forms if each.action.endswith("/order/")]
    assert sent.says(UNORDERABLE)
    assert not Order.objects.exists()


def test_a_product_that_is_gone_is_named_and_can_be_taken_out(
    shop: Visitor, alice: User, product: Product, cup: Product
) -> None:
    form = shop.send(quantities(TEA=2, CUP=1)).form("/order/")
    cup.delete()

    sent = shop.send(form)
    mended = shop.send(sent.form("/basket/"))

    assert sent.says(UNORDERABLE)
    assert sent.says("is not sold any more")
    assert lines_of(alice) == {"TEA": 2}
    assert shop.send(mended.form("/order/")).path.endswith("/checkout/")
    assert Order.objects.get().amount == 500


@pytest.mark.parametrize("sku", ["NOTHING", "", " ", "x" * 65, "<b>", "T" * 500])
def test_what_nobody_sells_is_not_put_in(
    sku: str, shop: Visitor, alice: User, product: Product
) -> None:
    page = shop.send(quantities(**{"TEA": 2, sku: 1}))

    assert page.status == 200
    assert lines_of(alice) == {"TEA": 2}


@pytest.mark.parametrize("sku", ["NOTHING", "", " ", "x" * 65, "<b>", "T" * 500])
def test_what_nobody_sells_any_more_is_taken_out_and_never_an_error(
    sku: str, shop: Visitor, alice: User, product: Product
) -> None:
    shop.send(quantities(TEA=2))
    Basket.objects.update(lines={"TEA": 2, sku: 1})
    basket, page = Basket.objects.get(), shop.open("/basket/")

    sent = shop.send(Form(f"/basket/{basket.pk}/order/", {"seen": baskets.digest(basket)}))
    shop.send(page.form("/basket/"))

    assert (sent.status, sent.says(UNORDERABLE)) == (200, True)
    assert lines_of(alice) == {"TEA": 2}
    assert not Order.objects.exists()


def test_a_basket_of_nothing_is_not_ordered_and_is_no_error(
    shop: Visitor, alice: User, product: Product
) -> None:
    shop.send(quantities(TEA=0))
    basket = Basket.objects.get()

    sent = shop.send(Form(f"/basket/{basket.pk}/order/", {"seen": baskets.digest(basket)}))

    assert (sent.status, sent.path.partition("?")[0]) == (200, "/basket/")
    assert not Order.objects.exists()


@pytest.fixture
def many(db: None) -> list[Product]:
    return Product.objects.bulk_create(
        Product(sku=f"P{n:03}", name=f"Product {n}", price=100, currency="EUR") for n in range(101)
    )


def test_a_hundred_lines_can_be_ordered(shop: Visitor, many: list[Product]) -> None:
    page = shop.send(quantities(**{each.sku: 1 for each in many[:100]}))

    assert shop.send(page.form("/order/")).path.endswith("/checkout/")
    assert Order.objects.get().amount == 10_000


def test_a_hundred_and_one_lines_are_not_ordered_and_are_no_error(
    shop: Visitor, alice: User, many: list[Product]
) -> None:
    shop.send(quantities(P000=1))
    Basket.objects.update(lines={each.sku: 1 for each in many})  # two tabs were too fast
    basket, page = Basket.objects.get(), shop.open("/basket/")

    sent = shop.send(Form(f"/basket/{basket.pk}/order/", {"seen": baskets.digest(basket)}))

    assert page.status == 200
    assert not [form for form in page.forms if form.action.endswith("/order/")]
    assert (sent.status, sent.says(UNORDERABLE)) == (200, True)
    assert not Order.objects.exists()


def test_a_basket_with_too_many_lines_says_why_it_cant_be_ordered(
    shop: Visitor, many: list[Product]
) -> None:
    shop.send(quantities(P000=1))
    Basket.objects.update(lines={each.sku: 1 for each in many})

    page = shop.open("/basket/")

    assert "100" in page.text.partition("</table>")[2]


def test_a_basket_has_a_limit(shop: Visitor, alice: User, many: list[Product]) -> None:
    shop.send(quantities(**{each.sku: 1 for each in many[:60]}))

    page = shop.send(quantities(**{each.sku: 1 for each in many[60:]}))

    assert page.says("holds at most 100 different products")
    assert lines_of(alice) == {each.sku: 1 for each in many[:60]}


def test_what_is_taken_out_makes_room(shop: Visitor, alice: User, many: list[Product]) -> None:
    shop.send(quantities(**{each.sku: 1 for each in many[:100]}))

    shop.send(quantities(P000=0, P100=1))

    assert lines_of(alice) == {each.sku: 1 for each in many[1:]}


def test_a_quantity_that_was_typed_and_not_set_is_shown_before_it_is_ordered(
    shop: Visitor, alice: User, product: Product
) -> None:
    form = shop.send(quantities(TEA=2)).form("/order/")

    page = shop.send(form.filled(quantity__TEA=5))
    placed = shop.send(page.form("/order/"))
    duplicate = shop.send(page.form("/order/").filled(quantity__TEA=7))

    assert page.says("Check the new total")
    assert page.form("/order/").fields["quantity-TEA"] == "5"
    assert placed.path == duplicate.path, "it is an order by now: that is the first result"
    assert Order.objects.get().amount == 5 * product.price


# --- Somebody else's


def test_somebody_elses_basket_is_not_there(
    shop: Visitor, visit: Callable[[User], Visitor], bob: User, product: Product
) -> None:
    form = shop.send(quantities(TEA=2)).form("/order/")

    page = visit(bob).send(form)

    assert page.status == 404
    assert page.says("Nothing is here, or it is somebody else's.")
    assert not Order.objects.exists()
    assert shop.send(form).status == 200
    assert visit(bob).send(form).status == 404
    assert Order.objects.get().customer.username == "alice"


def test_a_basket_is_shown_to_its_customer_only(
    shop: Visitor, visit: Callable[[User], Visitor], bob: User, product: Product
) -> None:
    shop.send(quantities(TEA=2))

    assert visit(bob).open("/basket/").says("The basket is empty.")
    visit(bob).send(quantities(TEA=9))
    assert shop.open("/basket/").form("/basket/").fields["quantity-TEA"] == "2"


# --- Ordering again


def test_ordering_again_sums_up_what_was_ordered_in_two_lines(
    shop: Visitor, alice: User, product: Product
) -> None:
    order = place_order(customer=alice, lines=[Line("TEA", 1), Line("TEA", 2)])

    shop.send(Form(f"/orders/{order.pk}/again/"))

    assert lines_of(alice) == {"TEA": 3}


def test_ordering_again_puts_no_more_into_the_basket_than_it_takes(
    shop: Visitor, alice: User, product: Product
) -> None:
    order = place_order(customer=alice, lines=[Line("TEA", 600), Line("TEA", 600)])

    shop.send(Form(f"/orders/{order.pk}/again/"))

    assert lines_of(alice) == {"TEA": 1000}


def test_ordering_again_keeps_what_else_is_in_the_basket(
    shop: Visitor, alice: User, product: Product, cup: Product
) -> None:
    order = place_order(customer=alice, lines=[Line("TEA", 2)])
    shop.send(quantities(CUP=1, TEA=5))

    for _ in range(2):
        shop.send(Form(f"/orders/{order.pk}/again/"))

    assert lines_of(alice) == {"TEA": 2, "CUP": 1}


# --- The key of a basket over the API


def test_a_key_that_the_api_used_first_leaves_a_basket_that_can_be_ordered(
    shop: Visitor, as_alice: APIClient, product: Product
) -> None:
    form = shop.send(quantities(TEA=2)).form("/order/")
    as_alice.post(
        "/api/v1/orders/",
        {"lines": [{"sku": "TEA", "quantity": 2}]},
        headers={"Idempotency-Key": str(Basket.objects.get().pk)},
    )

    page = shop.send(form)
    first = Order.objects.get()
    later = shop.send(shop.send(quantities(TEA=7)).form("/order/"))

    assert page.path == f"/orders/{first.pk}/checkout/"
    assert page.replayed
    assert later.path.endswith("/checkout/"), "the next basket is no dead end"
    assert Order.objects.count() == 2


def test_a_key_that_the_api_used_for_other_lines_leaves_a_basket_that_can_be_ordered(
    shop: Visitor, as_alice: APIClient, product: Product
) -> None:
    form = shop.send(quantities(TEA=2)).form("/order/")
    as_alice.post(
        "/api/v1/orders/",
        {"lines": [{"sku": "TEA", "quantity": 9}]},
        headers={"Idempotency-Key": str(Basket.objects.get().pk)},
    )

    pages = [shop.send(form), shop.send(shop.send(quantities(TEA=7)).form("/order/"))]

    assert any(page.path.endswith("/checkout/") for page in pages), "it is no dead end"


def test_a_basket_that_is_an_order_keeps_its_key(alice: User, order: Order) -> None:
    basket = Basket.objects.create(customer=alice, order=order)

    baskets.renew_key(basket)

    assert Basket.objects.get().pk == basket.pk


# --- Failures


def test_a_click_while_the_first_is_in_flight_does_not_say_that_nothing_was_ordered(
    shop: Visitor, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    from idempotency.errors import KeyInUse

    form = shop.send(quantities(TEA=2)).form("/order/")

    def busy(*_args: object, **_kwargs: object) -> Any:
        raise KeyInUse

    monkeypatch.setattr("orders.once.respond_once", busy)

    page = shop.send(form)

    assert not page.says("Nothing was ordered")
