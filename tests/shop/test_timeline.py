"""The order's page: what its requests came to, its timeline, and who sees what."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.test import Client
from rest_framework.test import APIClient

from idempotency import key_digest
from idempotency.journal import recorder
from idempotency.journal.models import JournaledRequest, Outcome
from orders.models import Order, Product
from orders.requests import OrderRequest, OrderRequests, RequestsOf
from payments.models import Account, Entry
from payments.services import open_account
from shop.drawing import BARS_MAX, WINDOW, draw
from shop.models import Basket
from shop.timeline import timeline_of
from tests.support.browserless import Form, Page, Visitor, through
from tests.support.records import make_record

pytestmark = pytest.mark.django_db

FIRST_PAYMENT = ["claimed", "0→1", "charged", "1→2", "token-and-response"]
FIRST_ORDER = ["claimed", "order-placed", "basket-ordered", "response-stored"]


@pytest.fixture(params=[True, False], ids=["with-executions", "duplicates-only"])
def journals_executions(request: Any, settings: Any) -> bool:
    settings.IDEMPOTENCY = settings.IDEMPOTENCY | {"JOURNAL_EXECUTED": request.param}
    return bool(request.param)


@pytest.fixture(autouse=True)
def _demo(settings: Any) -> None:
    settings.IDEMPOTENCY = settings.IDEMPOTENCY | {"JOURNAL_EXECUTED": True}


@pytest.fixture
def form(shop: Visitor, order: Order) -> Form:
    return shop.open(f"/orders/{order.pk}/checkout/").form("/pay/")


def to_pay(order: Order) -> OrderRequests:
    recorder.flush()
    return RequestsOf(Order.objects.get(pk=order.pk)).to_pay


def outcomes_of(order: Order) -> list[str]:
    return [each.outcome for each in to_pay(order).shown]


def steps_of(request: OrderRequest) -> list[str]:
    return [name for name, _rows, _ms in request.steps]


def page_of(shop: Visitor, order: Order) -> Page:
    """Open the order's page, with what its process has not written yet."""
    recorder.flush()
    return shop.open(f"/orders/{order.pk}/")


def test_the_headline_counts_every_click_and_one_charge(
    shop: Visitor, as_alice: APIClient, form: Form, order: Order, journals_executions: bool
) -> None:
    for _ in range(3):
        shop.send(form)
    shop.send(form.filled(key="a-second-tab"))
    for _ in range(5):
        as_alice.post(
            f"/api/v1/orders/{order.pk}/pay/",
            {"account": form.fields["account"]},
            headers={"Idempotency-Key": "by-api"},
        )

    page = page_of(shop, order)

    counts = to_pay(order).counts
    assert counts == {Outcome.EXECUTED: 1, Outcome.REPLAYED: 2 + 4, Outcome.SUPERSEDED: 2}
    assert 'data-sent="9" data-executed="1" data-waited="0" data-replayed="6"' in page.text
    assert page.says("9 clicks → 1 charge of €5.00")
    assert page.says("1 executed")
    assert page.says("6 got the same response again")
    assert page.says("2 refused")
    assert page.says("Balance: €1,000.00 before, €995.00 after")
    assert page.text.count('<text class="executed"') == 1


def test_a_declined_payment_is_no_charge_and_not_green(
    shop: Visitor, alice: User, place: Callable[..., Order], alice_account: Account
) -> None:
    dear = place(customer=alice, quantity=1000)
    shop.send(shop.open(f"/orders/{dear.pk}/checkout/").form("/pay/"))

    page = page_of(shop, dear)

    assert outcomes_of(dear) == ["executed"]
    assert page.says("1 click → declined, no charge")
    assert 'class="bars declined"' in page.text
    assert 'class="tag busy">declined' in page.text
    assert page.says("and the money was there: no")
    assert "1→3" in steps_of(to_pay(dear).shown[0])


def test_the_first_payment_is_shown_statement_by_statement(
    shop: Visitor, form: Form, order: Order
) -> None:
    shop.send(form)

    (only,) = to_pay(order).shown
    page = page_of(shop, order)

    assert steps_of(only) == FIRST_PAYMENT
    assert page.says("and the money was there: yes")
    assert not page.says("all of this is one commit: yes"), "nothing was decided there"


def test_the_first_order_is_shown_statement_by_statement(shop: Visitor, product: Product) -> None:
    basket = shop.send(shop.open("/").form("/basket/").filled(quantity__TEA=2))
    for _ in range(2):
        shop.send(basket.form("/order/"))
    recorder.flush()

    order = Order.objects.get()
    placing = RequestsOf(order).to_place
    assert [each.outcome for each in placing.shown] == ["executed", "replayed"]
    assert steps_of(placing.shown[0]) == FIRST_ORDER
    assert RequestsOf(order).to_pay.total == 0
    assert [event.what for event in timeline_of(order)] == [
        "placed",
        "Request to place the order",
        "Request to place the order",
    ]
    assert all(event.is_placing for event in timeline_of(order))


def test_without_executions_the_records_show_what_was_executed(
    shop: Visitor, product: Product, settings: Any, alice_account: Account
) -> None:
    settings.IDEMPOTENCY = settings.IDEMPOTENCY | {"JOURNAL_EXECUTED": False}
    basket = shop.send(shop.open("/").form("/basket/").filled(quantity__TEA=2))
    checkout = shop.send(basket.form("/order/"))
    shop.send(checkout.form("/pay/"))
    recorder.flush()

    order = Order.objects.get()
    placed, paid = RequestsOf(order).to_place, RequestsOf(order).to_pay
    assert not JournaledRequest.objects.exists()
    assert [each.outcome for each in placed.shown] == ["executed"]
    assert [each.outcome for each in paid.shown] == ["executed"]
    assert paid.shown[0].milliseconds > 0


def test_a_duplicate_is_shown_with_its_lookup_only(shop: Visitor, form: Form, order: Order) -> None:
    for _ in range(2):
        shop.send(form)

    assert outcomes_of(order) == ["executed", "replayed"]
    assert steps_of(to_pay(order).shown[1]) == ["claimed"]


def test_a_second_tab_is_shown_with_the_race_that_it_lost(
    shop: Visitor, form: Form, order: Order
) -> None:
    shop.send(form)
    shop.send(form.filled(key="a-second-tab"))
    shop.send(form.filled(key="a-second-tab"))

    assert outcomes_of(order) == ["executed", "superseded", "replayed"]
    lost = to_pay(order).shown[1]
    assert steps_of(lost) == ["claimed", "0→1", "1→1", "response-stored"]
    page = page_of(shop, order)
    assert page.says("Order from submitted to paying, if it is still submitted: no")
    assert page.says("another key: it was decided already")


def test_a_reused_key_is_shown_as_such(
    shop: Visitor, form: Form, order: Order, bob_account: Account
) -> None:
    shop.send(form)
    shop.send(form.filled(account=bob_account.pk))

    assert outcomes_of(order) == ["executed", "reused"]
    assert page_of(shop, order).says("refused: the key belongs to another request")


def test_equal_requests_in_a_row_are_folded(shop: Visitor, form: Form, order: Order) -> None:
    for _ in range(4):
        shop.send(form)
    recorder.flush()

    events = [event for event in timeline_of(order) if event.what == "Request to pay"]

    assert [(event.tag, event.more) for event in events] == [
        ("executed", 0),
        ("got the same response again", 2),
    ]
    assert page_of(shop, order).says("and 2 more like it")


def test_a_request_that_was_shed_counts_by_its_key(
    shop: Visitor, form: Form, order: Order, journal: recorder.Recorder
) -> None:
    shop.send(form)
    digests = (key_digest(form.fields["key"]), key_digest("somebody's"))
    for digest in digests:
        journal.add(
            recorder.Row(Outcome.IN_USE, scope="", key_digest=digest, subject="", request_id="")
        )

    assert outcomes_of(order) == ["executed", "in-use"]


def test_a_request_of_somebody_else_is_not_shown(
    shop: Visitor, form: Form, order: Order, bob: User, journal: recorder.Recorder
) -> None:
    shop.send(form)
    scope, digest = f"user:{bob.pk}", key_digest(form.fields["key"])
    for subject in (f"order:{order.pk}", ""):
        journal.add(recorder.Row(Outcome.REPLAYED, scope, digest, subject))

    assert outcomes_of(order) == ["executed"]


def test_requests_over_the_api_are_shown_beside_the_clicks(
    shop: Visitor, as_alice: APIClient, form: Form, order: Order
) -> None:
    shop.send(form)
    for key in ("by-api", form.fields["key"]):
        as_alice.post(
            f"/api/v1/orders/{order.pk}/pay/",
            {"account": int(form.fields["account"])},
            headers={"Idempotency-Key": key},
        )

    assert outcomes_of(order) == ["executed", "superseded", "replayed"]


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

    assert outcomes_of(order) == ["executed", "superseded"]


# --- The drawing


def request_at(order: Order, *, ms: float, took: float = 5, waited: float = 0) -> OrderRequest:
    at = order.created_at + timedelta(milliseconds=ms)
    return OrderRequest(at, Outcome.WAITED, "", "", took, waited)


def test_bars_lie_on_one_axis_and_their_waiting_is_a_part_of_them(order: Order) -> None:
    requests = [request_at(order, ms=0, took=50), request_at(order, ms=50, took=50, waited=25)]

    drawing = draw(requests, total=2)

    assert drawing is not None
    assert [(bar.x, bar.width, bar.waited) for bar in drawing.bars] == [
        ("0.0%", "50.0%", ""),
        ("50.0%", "50.0%", "25.0%"),
    ]
    assert [ms for _x, ms in drawing.ticks] == [0, 50]
    assert drawing.later == 0


def test_late_and_many_requests_are_not_drawn_but_counted(order: Order) -> None:
    late = WINDOW / timedelta(milliseconds=1) + 1
    few = draw([request_at(order, ms=0), request_at(order, ms=late)], total=2)
    many = draw([request_at(order, ms=n) for n in range(BARS_MAX + 3)], total=BARS_MAX + 9)

    assert few is not None
    assert many is not None
    assert (len(few.bars), few.later) == (1, 1)
    assert (len(many.bars), many.later) == (BARS_MAX, 9)
    assert draw([], total=0) is None


def test_the_page_is_followed_while_the_customer_may_still_be_clicking(
    shop: Visitor, form: Form, order: Order
) -> None:
    shop.send(form)
    assert "data-followed" in page_of(shop, order).text

    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE idempotency_journal_journaledrequest "
            "SET received_at = received_at - interval '6 seconds'"
        )
    assert "data-followed" not in page_of(shop, order).text


# --- Who sees what


def test_a_key_is_shown_by_its_digest_only(shop: Visitor, form: Form, order: Order) -> None:
    shop.send(form)
    page, token = page_of(shop, order), form.fields["key"]

    assert key_digest(token) in page.text
    assert token[:12] not in page.text


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
    key, subject = "the-staffs-own-key-of-this", f"order:{order.pk}"
    make_record(boss, key, subject=subject, status=409, body=b"{}")

    text = shop.open(f"/orders/{order.pk}/").text

    assert key_digest("the-staffs-own-key-of-this") in text
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


def test_the_clicks_of_one_order_are_not_shown_on_another(
    shop: Visitor, alice: User, form: Form, place: Callable[..., Order]
) -> None:
    shop.send(form)

    assert [event.what for event in timeline_of(place(customer=alice))] == ["placed"]


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


def test_a_timeline_with_many_requests_says_that_it_leaves_some_out(
    shop: Visitor, form: Form, order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orders.requests.SHOWN_MAX", 3)
    for _ in range(4):
        shop.send(form)

    page = page_of(shop, order)

    assert page.says("1 later requests are not shown")
    assert page.says("4 clicks → 1 charge")


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

    assert steps_of(to_pay(order).shown[0]) == FIRST_PAYMENT
