"""The admin: everything is found and shown; only the services write money and status."""

import csv
import re
import threading
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Permission, User
from django.contrib.messages import get_messages
from django.db import connection
from django.db.models import Model
from django.db.models.functions import Now
from django.http import HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from idempotency import key_digest, pagination, tokens
from idempotency.journal import recorder
from idempotency.journal.models import Outcome
from idempotency.journal.recorder import Recorder, Row
from idempotency.models import Record, Token
from orders.models import Order, OrderLine, PaymentRequest, Product, StatusChange
from orders.services import Line, advance, pay_order, place_order
from payments.models import Account, Entry, Payment
from payments.services import open_account, pay
from shop.events import OrderEvent
from shop.timeline import timeline_of
from tests.conftest import LONG_WINDOW, OPENING
from tests.support.live import until
from tests.support.records import make_record
from tests.support.together import together
from web.models import ApiToken

pytestmark = pytest.mark.django_db

READ_ONLY = (Order, StatusChange, Payment, Account, Entry, Record, Token)
GROWING = (*READ_ONLY, PaymentRequest, ApiToken, User)
EVERYTHING = (*READ_ONLY, Product)


def timeline_events(order: Order) -> list[OrderEvent]:
    return timeline_of(order, for_staff=True)


def page(name: str, *args: Any) -> str:
    return reverse(f"admin:{name}", args=args)


def changelist(model: type[Model]) -> str:
    return page(f"{model._meta.app_label}_{model._meta.model_name}_changelist")


def change(row: Model) -> str:
    return page(f"{row._meta.app_label}_{row._meta.model_name}_change", row.pk)


def found(client: Client, model: type[Model], **query: str) -> set[Any]:
    """Return the primary keys of the rows that a list shows."""
    response = client.get(changelist(model), query)
    assert response.status_code == 200
    return {row.pk for row in response.context["cl"].result_list}


def notices(response: Any) -> list[str]:
    return [str(message) for message in get_messages(response.wsgi_request)]


def form_at(client: Client, url: str) -> dict[str, str]:
    """Return what a browser would send of the form at an address, after any redirect."""
    text = client.get(url, follow=True).text
    return dict(re.findall(r'<input type="hidden" name="(key)" value="([^"]+)"', text))


def new_form(client: Client, order: Order) -> dict[str, str]:
    return form_at(client, page("orders_order_submit-again", order.pk))


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def balance(account: Account) -> int | None:
    return Account.objects.get(pk=account.pk).balance


@pytest.fixture
def boss(db: None) -> User:
    return User.objects.create_superuser("boss", password="right-password")


@pytest.fixture
def as_boss(boss: User, client: Client) -> Client:
    client.force_login(boss)
    return client


@pytest.fixture
def clerk(db: None) -> User:
    """Staff who may view everything and change nothing."""
    clerk = User.objects.create_user("clerk", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    return clerk


@pytest.fixture
def as_clerk(clerk: User) -> Client:
    client = Client()
    client.force_login(clerk)
    return client


@pytest.fixture
def paid_by_api(as_alice: Any, alice_account: Account, product: Product) -> Order:
    """An order that its customer placed and paid over the API, each under a key."""
    lines = {"lines": [{"sku": product.sku, "quantity": 2}]}
    placed = as_alice.post(
        "/api/v1/orders/", lines, headers={"Idempotency-Key": "k-place", "X-Request-Id": "r-1"}
    )
    url = f"{placed['Location']}pay/"
    paid = as_alice.post(url, {"account": alice_account.pk}, headers={"Idempotency-Key": "k-pay"})
    assert (placed.status_code, paid.status_code) == (201, 200)
    return Order.objects.get(pk=placed.json()["id"])


@pytest.fixture
def token(alice: User) -> str:
    return tokens.issue(f"user:{alice.pk}")[0]


# --- Shown, found, linked


@pytest.mark.parametrize("model", EVERYTHING)
@pytest.mark.parametrize("who", ["as_boss", "as_clerk"])
@pytest.mark.usefixtures("paid_by_api", "token")
def test_every_list_and_page_is_there_for_all_who_may_view(
    who: str, model: type[Model], request: pytest.FixtureRequest
) -> None:
    client: Client = request.getfixturevalue(who)
    rows = list(model._default_manager.all())

    assert rows
    assert found(client, model) == {row.pk for row in rows}
    assert found(client, model, q="nothing-like-this") == set()
    for row in rows:
        assert client.get(change(row)).status_code == 200
        assert client.get(f"{change(row)[: -len('change/')]}history/").status_code == 200


@pytest.mark.parametrize("model", EVERYTHING)
@pytest.mark.usefixtures("paid_by_api", "token")
def test_every_filter_of_every_list_works(as_boss: Client, model: type[Model]) -> None:
    specs = as_boss.get(changelist(model)).context["cl"].filter_specs

    assert specs or model is Product
    for spec in specs:
        for choice in spec.choices(as_boss.get(changelist(model)).context["cl"]):
            response = as_boss.get(changelist(model) + choice["query_string"])
            assert response.status_code == 200


def test_a_visitor_and_a_customer_see_nothing(client: Client, alice: User) -> None:
    for visitor in (client, signed_in(alice)):
        response = visitor.get(changelist(Order))
        assert response.status_code == 302
        assert response["Location"].startswith(page("login"))


def test_rows_are_found_by_what_staff_know_of_them(
    as_boss: Client, paid_by_api: Order, alice_account: Account, bob: User, bob_account: Account
) -> None:
    order, payment = paid_by_api, Payment.objects.get()
    cup = Product.objects.create(sku="CUP", name="Cup", price=900, currency="EUR")
    others = place_order(customer=bob, lines=[Line(cup.sku, 1)])
    pay_order(customer=bob, order_id=others.pk, account_id=bob_account.pk)
    entries = set(payment.entries.values_list("pk", flat=True))
    placing, paying = (Record.objects.get(key=key).pk for key in ("k-place", "k-pay"))

    for term in (str(order.pk), order.pk.hex, "alice"):
        assert found(as_boss, Order, q=term) == {order.pk}
    assert found(as_boss, StatusChange, q=str(order.pk)) == set(
        order.history.values_list("pk", flat=True)
    )
    for term in (str(order.pk), str(payment.pk), "alice"):
        assert found(as_boss, Payment, q=term) == {payment.pk}
    for term in (str(order.pk), str(payment.pk)):
        assert found(as_boss, Entry, q=term) == entries
    assert found(as_boss, Account, q="alice") == {alice_account.pk}
    assert found(as_boss, Record, q="k-pay") == {paying}
    assert found(as_boss, Record, q="r-1") == {placing}
    assert found(as_boss, Record, q=str(order.pk)) == {placing, paying}
    assert found(as_boss, Record, q=f"user:{order.customer_id}") == {placing, paying}
    assert found(as_boss, Record, q="bob") == set()


def test_a_payment_request_is_found_by_its_order_and_by_its_requests_id(
    as_boss: Client, place: Callable[..., Order], alice: User
) -> None:
    order, other = place(customer=alice), place(customer=alice)
    request_id = uuid4().hex
    PaymentRequest.objects.create(order=order, body=b"{}", request_id=request_id)
    PaymentRequest.objects.create(order=other, body=b"{}", request_id="r-1")

    for term in (str(order.pk), request_id):
        assert found(as_boss, PaymentRequest, q=term) == {order.pk}
    assert found(as_boss, PaymentRequest, q="r-1") == {other.pk}


@pytest.mark.parametrize("model", GROWING)
@pytest.mark.usefixtures("paid_by_api", "token")
def test_no_list_reads_a_whole_table(model: type[Model], as_boss: Client) -> None:
    with CaptureQueriesContext(connection) as captured:
        as_boss.get(changelist(model))
        as_boss.get(changelist(model), {"q": "boss"})
    table = f'FROM "{model._meta.db_table}"'
    of_table = [each["sql"] for each in captured if table in each["sql"]]
    counts = [sql for sql in of_table if "COUNT(" in sql]
    assert len(counts) == 2
    assert all(f" LIMIT {pagination.ROWS_COUNTED_MAX})" in sql for sql in counts)
    for sql in of_table:
        assert "DISTINCT" not in sql
        assert "LIKE '%" not in sql
        assert "UPPER" not in sql


def test_an_operator_gets_from_a_name_and_an_amount_to_the_verdict_in_two_pages(
    as_boss: Client, as_alice: Any, paid_by_api: Order, alice: User, place: Callable[..., Order]
) -> None:
    account = paid_by_api.account_id
    for key in ("k-pay", "k-again"):
        url = f"/api/v1/orders/{paid_by_api.pk}/pay/"
        as_alice.post(url, {"account": account}, headers={"Idempotency-Key": key})
    recorder.flush()
    planted = place(customer=alice)
    place(customer=alice, quantity=3)

    found = as_boss.get(reverse("admin:dashboard"), {"q": "alice 5.00"}).text
    assert change(paid_by_api) in found
    assert change(planted) in found
    text = as_boss.get(change(paid_by_api)).text

    (verdict,) = re.findall(r'<p id="verdict">(.*?)</p>', text)
    assert re.fullmatch(
        r"Charged once: €5\.00 on \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC, entry \d+\. "
        r"3 pay requests, 2 of them duplicates\. "
        r"1 other order of alice for €5\.00 within 10 minutes\.",
        verdict,
    )
    assert f'<a href="{change(planted)}">{planted.pk}</a>' in text


def test_the_verdict_on_an_order_that_was_not_charged_says_why(
    as_boss: Client, alice: User, order: Order, bob: User, place: Callable[..., Order]
) -> None:
    assert "Not charged: nobody has paid it." in as_boss.get(change(order)).text
    advance(order.pk, Order.start_paying, account_id=1)
    text = as_boss.get(change(order)).text
    assert "Not charged so far: the payment of €5.00 is pending." in text
    assert "No other order of alice for €5.00 within 10 minutes." in text
    poor = open_account(owner=bob, currency="EUR", opening_balance=1)
    declined = place(customer=bob)
    pay_order(customer=bob, order_id=declined.pk, account_id=poor.pk)
    text = as_boss.get(change(declined)).text
    assert "Not charged: the payment of €5.00 was declined on" in text


def test_entries_are_listed_by_whose_account_they_are_on(
    as_boss: Client, paid_by_api: Order, alice_account: Account, bob_account: Account
) -> None:
    """However many accounts a currency has, it is offered once."""
    address = reverse("admin:payments_entry_changelist")

    shown = {
        wanted: list(as_boss.get(address, {"settlement": wanted}).context["cl"].queryset)
        for wanted in ("yes", "no")
    }

    assert [entry.account.owner for entry in shown["yes"]] == [None]
    assert [entry.account for entry in shown["no"]] == [alice_account]
    assert as_boss.get(address).text.count("?currency=EUR") == 1
    in_dollars = as_boss.get(address, {"currency": "USD"}).context["cl"]
    assert not in_dollars.queryset.exists()


def test_a_list_is_exported_as_it_is_stored(
    as_boss: Client, paid_by_api: Order, order: Order
) -> None:
    form = {"action": "export_csv", "index": 0, "_selected_action": [paid_by_api.pk]}

    response = as_boss.post(changelist(Order), form)

    assert response["Content-Type"] == "text/csv; charset=utf-8"
    names, row = csv.reader(response.getvalue().decode().splitlines())
    exported = dict(zip(names, row, strict=True))
    assert exported["id"] == str(paid_by_api.pk)
    assert (exported["amount"], exported["currency"], exported["status"]) == ("500", "EUR", "2")


def test_an_exported_text_is_no_formula(as_boss: Client, order: Order) -> None:
    PaymentRequest.objects.create(order=order, body=b"{}", last_error="=HYPERLINK(1)")
    form = {"action": "export_csv", "index": 0, "_selected_action": [order.pk]}

    lines = as_boss.post(changelist(PaymentRequest), form).getvalue().decode()

    assert "'=HYPERLINK(1)" in lines
    assert "body" not in lines.partition("\n")[0], "no bytes"


def test_who_may_not_view_a_list_can_not_export_it(order: Order, alice: User) -> None:
    alice.is_staff = True
    alice.save()
    client = Client()
    client.force_login(alice)
    form = {"action": "export_csv", "index": 0, "_selected_action": [order.pk]}
    assert client.post(changelist(Order), form).status_code == 403


def test_a_list_is_counted_to_a_limit_and_says_so(
    as_boss: Client,
    place: Callable[..., Order],
    alice: User,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place(customer=alice)
    assert "1\norder\n" in as_boss.get(changelist(Order)).text
    for _ in range(3):
        place(customer=alice)
    assert "4\norders\n" in as_boss.get(changelist(Order)).text

    monkeypatch.setattr(pagination, "ROWS_COUNTED_MAX", 3)

    assert "3+\norders\n" in as_boss.get(changelist(Order)).text


def test_a_token_is_found_by_pasting_it_and_never_shown(
    as_boss: Client, token: str, bob: User
) -> None:
    tokens.issue(f"user:{bob.pk}")
    pasted = Token.objects.get(digest=tokens.digest(token))

    assert found(as_boss, Token, q=f" {token} ") == {pasted.pk}
    assert found(as_boss, Token, q=token[:-1]) == set()
    assert found(as_boss, Token, q=pasted.scope) == {pasted.pk}
    for url in (changelist(Token), change(pasted)):
        assert token.removeprefix("tok_") not in as_boss.get(url).text


def test_lists_are_filtered_by_status_outcome_and_tombstone(
    as_boss: Client, paid_by_api: Order, place: Callable[..., Order], bob: User
) -> None:
    unpaid = place(customer=bob)
    Record.objects.filter(key="k-place").update(
        status=None, body=None, retained_until=Now(), content_type="", headers={}
    )

    assert found(as_boss, Order, status__exact="0") == {unpaid.pk}
    assert found(as_boss, Order, status__exact="2") == {paid_by_api.pk}
    assert found(as_boss, Payment, outcome__exact="declined") == set()
    assert len(found(as_boss, Payment, outcome__exact="succeeded")) == 1
    assert found(as_boss, Record, tombstone="yes") == {Record.objects.get(key="k-place").pk}
    assert found(as_boss, Record, tombstone="no") == {Record.objects.get(key="k-pay").pk}
    assert len(found(as_boss, Record, tombstone="perhaps")) == 2


def test_pages_link_to_each_other(
    as_boss: Client, paid_by_api: Order, alice: User, alice_account: Account
) -> None:
    payment = Payment.objects.get()
    entry = payment.entries.get(account=alice_account)
    record = Record.objects.get(key="k-place")
    links: dict[Model, list[Model]] = {
        paid_by_api: [payment, alice_account, alice],
        payment: [paid_by_api, alice_account, entry],
        entry: [paid_by_api, payment, alice_account],
        alice_account: [alice],
        record: [paid_by_api, alice],
        Record.objects.get(key="k-pay"): [paid_by_api, alice],
        paid_by_api.history.get(target=2): [paid_by_api],
    }

    for row, others in links.items():
        text = as_boss.get(change(row)).text
        missing = [other for other in others if f'href="{change(other)}' not in text]
        assert not missing, row
    timeline = as_boss.get(page("order-timeline", paid_by_api.pk)).text
    assert all(f'href="{change(row)}' in timeline for row in (payment, record, entry, paid_by_api))
    assert page("order-timeline", paid_by_api.pk) in as_boss.get(change(paid_by_api)).text
    lists: dict[Model, type[Model]] = {paid_by_api: Record, payment: Entry, alice_account: Payment}
    for row, model in lists.items():
        assert f'href="{changelist(model)}?' in as_boss.get(change(row)).text


def test_a_record_shows_its_response_as_text_and_a_tombstone_has_none(
    as_boss: Client, paid_by_api: Order
) -> None:
    record = Record.objects.get(key="k-pay")
    assert "&quot;status_label&quot;: &quot;paid&quot;" in as_boss.get(change(record)).text

    Record.objects.filter(pk=record.pk).update(
        status=None, body=None, retained_until=Now(), content_type="", headers={}
    )

    text = as_boss.get(change(record)).text
    assert "Tombstone" in text
    assert "status_label" not in text
    assert str(paid_by_api.pk) in text


@pytest.mark.parametrize("model", EVERYTHING)
def test_a_list_asks_no_more_queries_for_more_rows(
    model: type[Model], as_boss: Client, product: Product
) -> None:
    def grow(number: int) -> None:
        user = User.objects.create_user(f"customer-{number}")
        account = open_account(owner=user, currency="EUR", opening_balance=OPENING)
        order = place_order(customer=user, lines=[Line(product.sku, 1)])
        pay_order(customer=user, order_id=order.pk, account_id=account.pk)
        tokens.issue(f"user:{user.pk}")
        Product.objects.create(sku=f"P{number}", name="P", price=1, currency="EUR")
        as_boss.post(page("orders_order_submit-again", order.pk), {"key": str(uuid4())})
        make_record(user, "k")

    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            as_boss.get(changelist(model))
        return len(captured)

    grow(0)
    as_boss.get(changelist(model))  # what is cached once (content types, messages) is cached now
    before, few = model._default_manager.count(), queries()
    for number in range(1, 9):
        grow(number)
    as_boss.get(changelist(model))

    assert model._default_manager.count() >= before + 8
    assert queries() == few


# --- Nothing is written past the services


@pytest.mark.parametrize("model", READ_ONLY)
@pytest.mark.usefixtures("token")
def test_not_even_a_superuser_adds_changes_or_deletes_money_or_status(
    model: type[Model], as_boss: Client, paid_by_api: Order
) -> None:
    values = {"status": 3, "amount": 1, "balance": 10**9, "outcome": "declined", "key": "other"}
    values |= {"currency": "USD", "target": 3, "digest": "0" * 64, "_save": "Save"}
    before = list(model._default_manager.order_by("pk").values())
    row = model._default_manager.first()
    assert row is not None
    name = f"{model._meta.app_label}_{model._meta.model_name}"

    assert as_boss.post(change(row), values).status_code == 403
    assert as_boss.post(page(f"{name}_delete", row.pk), {"post": "yes"}).status_code == 403
    assert as_boss.post(page(f"{name}_add"), values).status_code == 403
    as_boss.post(
        changelist(model), {"action": "delete_selected", "_selected_action": row.pk, "post": "yes"}
    )

    assert list(model._default_manager.order_by("pk").values()) == before


def test_lines_are_not_changed_with_their_order(as_boss: Client, paid_by_api: Order) -> None:
    line = OrderLine.objects.get()
    form = {"lines-TOTAL_FORMS": 1, "lines-INITIAL_FORMS": 1, "lines-0-id": line.pk}

    response = as_boss.post(change(paid_by_api), form | {"lines-0-quantity": 1})

    assert response.status_code == 403
    assert OrderLine.objects.get().quantity == 2
    assert 'name="lines-0-quantity"' not in as_boss.get(change(paid_by_api)).text


def test_products_are_added_and_priced_and_kept_once_ordered(
    as_boss: Client, paid_by_api: Order, product: Product
) -> None:
    form = {"sku": "POT", "name": "Pot", "price": 900, "currency": "EUR"}
    assert as_boss.post(page("orders_product_add"), form).status_code == 302
    assert as_boss.post(change(product), form | {"sku": "X", "price": 300}).status_code == 302
    refused = as_boss.post(change(product), form | {"price": 0})
    as_boss.post(page("orders_product_delete", product.pk), {"post": "yes"})

    assert refused.status_code == 200
    assert refused.context["errors"]
    assert set(Product.objects.values_list("sku", "price")) == {("POT", 900), ("TEA", 300)}
    assert paid_by_api.lines.get().unit_price == 250


def test_the_secrets_of_api_tokens_are_not_in_the_admin(as_boss: Client, as_alice: Any) -> None:
    assert as_boss.get("/admin/authtoken/tokenproxy/").status_code == 404
    assert as_boss.get(page("index")).status_code == 200


# --- Pay


def test_paying_twice_charges_once_and_says_so(
    as_boss: Client, alice: User, alice_account: Account, place: Callable[..., Order]
) -> None:
    order = place(customer=alice)
    url = page("orders_order_pay", order.pk)

    first, second = as_boss.post(url), as_boss.post(url)

    assert (first["Location"], second["Location"]) == (change(order), change(order))
    assert notices(first) == ["Paid."]
    assert notices(second) == [
        "Paid.",
        "Already paid, nothing changed.",
    ]  # neither was shown yet
    assert Order.objects.get().status == Order.Status.PAID
    assert Payment.objects.count() == 1
    assert balance(alice_account) == OPENING - order.amount


@pytest.mark.django_db(transaction=True)
def test_many_clicks_at_once_on_pay_charge_once(
    boss: User, alice: User, alice_account: Account, place: Callable[..., Order]
) -> None:
    order = place(customer=alice)
    url = page("orders_order_pay", order.pk)

    responses = together(8, lambda _: signed_in(boss).post(url))

    assert {response.status_code for response in responses} == {302}
    assert Payment.objects.count() == 1
    assert balance(alice_account) == OPENING - order.amount


def test_the_account_in_the_orders_currency_with_the_most_money_is_charged(
    as_boss: Client, alice: User, alice_account: Account, place: Callable[..., Order]
) -> None:
    order = place(customer=alice)
    open_account(owner=alice, currency="USD", opening_balance=10 * OPENING)
    fullest = open_account(owner=alice, currency="EUR", opening_balance=2 * OPENING)

    as_boss.post(page("orders_order_pay", order.pk))

    assert Payment.objects.get().account == fullest
    assert balance(alice_account) == OPENING
    assert balance(fullest) == 2 * OPENING - order.amount


def test_a_declined_payment_says_so_and_charges_nothing(
    as_boss: Client, alice: User, place: Callable[..., Order]
) -> None:
    account = open_account(owner=alice, currency="EUR", opening_balance=1)
    order = place(customer=alice)
    url = page("orders_order_pay", order.pk)

    as_boss.post(url)
    response = as_boss.post(url)

    assert notices(response) == [
        "Declined: the account lacks the money.",
        "Has failed already, nothing changed.",
    ]
    assert Order.objects.get().status == Order.Status.FAILED
    assert balance(account) == 1


def test_what_the_services_refuse_is_a_message(
    as_boss: Client, alice: User, place: Callable[..., Order]
) -> None:
    order = place(customer=alice)
    url = page("orders_order_pay", order.pk)

    without_account = as_boss.post(url)
    account = open_account(owner=alice, currency="EUR", opening_balance=OPENING)
    smaller = open_account(owner=alice, currency="EUR", opening_balance=OPENING - 1)
    pay(order_id=order.pk, account_id=smaller.pk, amount=order.amount, currency="EUR")
    paid_otherwise = as_boss.post(url)

    assert notices(without_account) == ["No account in EUR is known here. Nothing changed."]
    assert notices(paid_otherwise)[1:] == ["Its payment was made on other terms. Nothing changed."]
    assert Order.objects.get().status == Order.Status.SUBMITTED
    assert balance(account) == OPENING


# --- Submit again


def test_the_same_form_sent_twice_makes_one_new_order_and_a_new_form_another(
    as_boss: Client, boss: User, alice: User, place: Callable[..., Order], product: Product
) -> None:
    order = place(customer=alice)
    url = page("orders_order_submit-again", order.pk)
    form = new_form(as_boss, order)
    Product.objects.update(price=300)

    first, second = as_boss.post(url, form), as_boss.post(url, form)

    new = Order.objects.exclude(pk=order.pk).get()
    assert first["Location"] == second["Location"] == change(new)
    assert "This form was sent before" in notices(second)[-1]
    assert "new order" in notices(first)[0]
    record = Record.objects.get()
    scope = f"user:{boss.pk}"
    assert (record.scope, record.key, record.status) == (scope, form["key"], 201)

    third = as_boss.post(url, new_form(as_boss, order))

    assert third["Location"] not in {change(order), change(new)}
    assert Order.objects.count() == 3
    assert (new.customer, new.status) == (alice, Order.Status.SUBMITTED)
    assert list(new.lines.values_list("sku", "quantity")) == [("TEA", 2)]
    assert (order.amount, new.amount) == (500, 600)


def test_whoever_goes_back_finds_the_form_that_was_sent(
    as_boss: Client, alice: User, place: Callable[..., Order]
) -> None:
    order = place(customer=alice)
    address = as_boss.get(page("orders_order_submit-again", order.pk))["Location"]

    first = as_boss.post(address, form_at(as_boss, address))
    back = form_at(as_boss, address)
    second = as_boss.post(address, back)

    assert back
    assert first["Location"] == second["Location"]
    assert Order.objects.count() == 2


def test_the_form_shows_the_prices_then_and_today(
    as_boss: Client, alice: User, place: Callable[..., Order]
) -> None:
    order = place(customer=alice)
    Product.objects.update(price=300)

    text = as_boss.get(page("orders_order_submit-again", order.pk), follow=True).text

    assert "<td>€2.50</td>" in text
    assert "<td>€3.00</td>" in text
    assert Order.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_many_clicks_at_once_on_one_form_make_one_order(
    boss: User, alice: User, place: Callable[..., Order]
) -> None:
    order = place(customer=alice)
    url = page("orders_order_submit-again", order.pk)
    key = str(uuid4())

    responses = together(8, lambda _: signed_in(boss).post(url, {"key": key}))

    new = Order.objects.exclude(pk=order.pk).get()
    ended = {(response.status_code, response["Location"]) for response in responses}
    # Who came while too many waited already is given the same form again.
    assert (302, change(new)) in ended
    assert ended <= {(302, change(new)), (302, f"{url}?key={key}")}
    assert Record.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_the_same_clicks_without_a_shared_key_make_as_many_orders(
    boss: User, alice: User, place: Callable[..., Order]
) -> None:
    order = place(customer=alice)
    url = page("orders_order_submit-again", order.pk)

    together(8, lambda _: signed_in(boss).post(url, {"key": str(uuid4())}))

    assert Order.objects.count() == 1 + 8


@pytest.mark.django_db(transaction=True)
def test_a_second_click_that_waited_in_vain_gets_the_same_form_again(
    boss: User,
    alice: User,
    place: Callable[..., Order],
    at_failpoint: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    order = place(customer=alice)
    url = page("orders_order_submit-again", order.pk)
    key = str(uuid4())
    second: list[Any] = []

    def click_again() -> None:
        second.extend(together(1, lambda _: signed_in(boss).post(url, {"key": key})))

    monkeypatch.setattr("orders.once.WAIT_SECONDS", 0)
    at_failpoint("order-placed", click_again)
    first = signed_in(boss).post(url, {"key": key})  # is held while the second click comes and goes
    third = signed_in(boss).post(
        second[0]["Location"], form_at(signed_in(boss), url + f"?key={key}")
    )

    assert second[0]["Location"] == f"{url}?key={key}"
    assert notices(second[0]) == [
        "It is still being submitted. Send this form again: it makes one order."
    ]
    assert first["Location"] == third["Location"] != change(order)
    assert Order.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_a_second_click_that_waits_long_enough_ends_on_the_firsts_order(
    boss: User, alice: User, place: Callable[..., Order], at_failpoint: Callable[..., None]
) -> None:
    order = place(customer=alice)
    url = page("orders_order_submit-again", order.pk)
    key = str(uuid4())
    second: list[Any] = []
    click = threading.Thread(
        target=lambda: second.extend(together(1, lambda _: signed_in(boss).post(url, {"key": key})))
    )

    def click_again() -> None:
        click.start()
        until(somebody_waits_for_a_lock)

    at_failpoint("order-placed", click_again)
    first = signed_in(boss).post(url, {"key": key})
    click.join(30)

    assert second[0]["Location"] == first["Location"]
    assert "This form was sent before" in notices(second[0])[0]
    assert Order.objects.count() == 2


def somebody_waits_for_a_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database"
            " WHERE datname = current_database() AND locktype = 'advisory' AND NOT granted"
        )
        return bool(cursor.fetchone()[0])


@pytest.mark.django_db(transaction=True)
def test_a_crash_leaves_neither_the_order_nor_the_key_used(
    as_boss: Client, alice: User, place: Callable[..., Order], at_failpoint: Callable[..., None]
) -> None:
    order = place(customer=alice)
    url = page("orders_order_submit-again", order.pk)
    form = new_form(as_boss, order)

    def crash() -> None:
        raise ZeroDivisionError

    at_failpoint("order-placed", crash)
    with pytest.raises(ZeroDivisionError):
        as_boss.post(url, form)
    assert (Order.objects.count(), Record.objects.count()) == (1, 0)

    as_boss.post(url, form)
    assert (Order.objects.count(), Record.objects.count()) == (2, 1)


def test_a_key_that_cant_be_used_places_nothing(
    as_boss: Client, alice: User, place: Callable[..., Order]
) -> None:
    order, other = place(customer=alice), place(customer=alice)
    url = page("orders_order_submit-again", order.pk)
    key = str(uuid4())
    as_boss.post(page("orders_order_submit-again", other.pk), {"key": key})
    boss = User.objects.get(username="boss")
    expired = make_record(boss, str(uuid4()), path=url)

    refused = [as_boss.post(url, form) for form in ({}, {"key": "\0"})]
    reused, gone = as_boss.post(url, {"key": key}), as_boss.post(url, {"key": expired.key})

    assert {response["Location"].partition("=")[0] for response in (*refused, reused, gone)} == {
        f"{url}?key"
    }
    assert not {key, expired.key} & {r["Location"].partition("=")[2] for r in (reused, gone)}
    assert "was another order's" in notices(reused)[-1]
    assert "sent long ago" in notices(gone)[-1]
    assert Order.objects.count() == 3


def test_products_that_no_longer_fit_together_are_a_message(
    as_boss: Client, alice: User, product: Product
) -> None:
    cup = Product.objects.create(sku="CUP", name="Cup", price=900, currency="EUR")
    order = place_order(customer=alice, lines=[Line(product.sku, 1), Line(cup.sku, 1)])
    Product.objects.filter(pk=cup.pk).update(currency="USD")

    response = as_boss.post(page("orders_order_submit-again", order.pk), {"key": str(uuid4())})

    assert notices(response) == [
        "Its products can't be ordered together any more. Nothing changed."
    ]
    assert (Order.objects.count(), Record.objects.count()) == (1, 0)


# --- Who may act


@pytest.mark.parametrize("action", ["pay", "submit-again"])
def test_viewing_staff_see_no_buttons_and_are_refused(
    action: str,
    as_clerk: Client,
    alice: User,
    alice_account: Account,
    place: Callable[..., Order],
) -> None:
    order = place(customer=alice)

    assert f'id="{action}"' not in as_clerk.get(change(order)).text
    url = page(f"orders_order_{action}", order.pk)
    assert as_clerk.get(url).status_code == 403
    assert as_clerk.post(url, {"key": str(uuid4())}).status_code == 403

    assert Order.objects.get().status == Order.Status.SUBMITTED
    assert balance(alice_account) == OPENING


def test_staff_who_may_change_orders_act_on_them_without_editing_them(
    as_clerk: Client,
    clerk: User,
    alice: User,
    alice_account: Account,
    place: Callable[..., Order],
) -> None:
    clerk.user_permissions.add(Permission.objects.get(codename="change_order"))
    order = place(customer=alice)

    text = as_clerk.get(change(order)).text
    assert 'id="pay"' in text
    assert 'id="submit-again"' in text
    assert as_clerk.post(change(order), {"status": 2}).status_code == 403
    assert as_clerk.post(page("orders_order_pay", order.pk)).status_code == 302
    assert balance(alice_account) == OPENING - order.amount


def test_actions_are_posted_with_a_csrf_token_to_an_order_that_exists(
    as_boss: Client, boss: User, alice: User, alice_account: Account, place: Callable[..., Order]
) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(boss)
    order = place(customer=alice)

    for action in ("pay", "submit-again"):
        url = page(f"orders_order_{action}", order.pk)
        assert strict.post(url, {"key": str(uuid4())}).status_code == 403
        assert as_boss.get(url).status_code == 302
        assert Client().post(url)["Location"].startswith(page("login"))
        assert as_boss.post(page(f"orders_order_{action}", uuid4())).status_code == 404
    assert as_boss.get(page("orders_order_pay", order.pk))["Location"] == change(order)
    assert Order.objects.get().status == Order.Status.SUBMITTED
    assert balance(alice_account) == OPENING


# --- The timeline of an order


def test_an_orders_page_links_its_timeline_in_order(
    as_boss: Client, as_alice: Any, paid_by_api: Order, alice_account: Account
) -> None:
    duplicate = as_alice.post(
        f"/api/v1/orders/{paid_by_api.pk}/pay/",
        {"account": alice_account.pk},
        headers={"Idempotency-Key": "k-again"},
    )
    events = timeline_events(paid_by_api)
    times = [event.at for event in events]
    text = as_boss.get(page("order-timeline", paid_by_api.pk)).text
    shown = [text.find(f"<td>{event.when}</td>") for event in events]

    assert duplicate.status_code == 409
    assert [event.what for event in events] == [
        "placed",
        "submitted → paying",
        "Request to pay",
        "payment succeeded",
        "entry",
        "entry",
        "paying → paid",
        "Request to pay",
    ]
    assert times == sorted(times)
    assert -1 not in shown
    assert all(re.search(r"\.\d{3}\+", event.when) for event in events)
    for fact in ("2 × Green tea", "key k-place", "request r-1"):
        assert fact in events[0].details
    assert "key k-pay" in events[2].details
    assert "key k-again" in events[7].details
    for event in events:
        assert f'href="{event.url}"' in text
    assert f"-€5.00 on account {alice_account.pk}, balance after €995.00" in {
        event.details for event in events
    }


def test_the_timeline_names_the_staff_who_acted(
    as_boss: Client, boss: User, alice: User, alice_account: Account, place: Callable[..., Order]
) -> None:
    old = place(customer=alice)
    as_boss.post(page("orders_order_submit-again", old.pk), new_form(as_boss, old))
    new = Order.objects.exclude(pk=old.pk).get()
    as_boss.post(page("orders_order_pay", new.pk))

    events = [(event.what, event.details) for event in timeline_events(new)]
    key = Record.objects.get().key

    assert f"by boss, key {key}" in events[0][1]
    assert ("staff: boss", f"Submitted again from order {old.pk}.") in events
    assert ("staff: boss", "Paid.") in events
    assert timeline_events(old)[0].details.endswith("no idempotency record")


def test_an_order_without_any_record_has_a_timeline_too(
    as_boss: Client, alice: User, place: Callable[..., Order]
) -> None:
    order = place(customer=alice)

    assert [event.what for event in timeline_events(order)] == ["placed"]
    assert as_boss.get(change(order)).status_code == 200


def test_another_customers_requests_are_not_part_of_the_timeline(
    bob: User, paid_by_api: Order
) -> None:
    before = len(timeline_events(paid_by_api))
    make_record(bob, "foreign", subject=f"order:{paid_by_api.pk}")

    assert len(timeline_events(paid_by_api)) == before


def test_there_is_no_timeline_of_an_order_that_is_not_there(as_boss: Client) -> None:
    assert as_boss.get(page("order-timeline", uuid4())).status_code == 404


def test_records_are_found_by_the_order_that_they_are_about(
    as_boss: Client, boss: User, paid_by_api: Order, order: Order
) -> None:
    make_record(boss, "of-another-order", subject=f"order:{order.pk}", status=200, body=b"{}")

    found = as_boss.get(changelist(Record), {"q": str(paid_by_api.pk)}).text

    assert "k-pay" in found
    assert "of-another-order" not in found


def test_a_timeline_that_leaves_requests_out_shows_an_ellipsis(
    paid_by_api: Order, monkeypatch: pytest.MonkeyPatch, journal: Recorder
) -> None:
    for _ in range(3):
        journal.add(Row(Outcome.REPLAYED, "", key_digest("k-pay"), f"order:{paid_by_api.pk}"))
    journal.flush()
    assert "…" not in {event.what for event in timeline_events(paid_by_api)}
    monkeypatch.setattr("orders.requests.SHOWN_MAX", 2)

    events = timeline_events(paid_by_api)

    assert "key k-place" in events[0].details
    (omitted,) = (event for event in events if event.what == "…")
    assert omitted.details == "2 later requests are not shown"


def test_a_script_in_a_products_name_is_shown_and_not_run(as_boss: Client, as_alice: Any) -> None:
    script = "<script>alert(1)</script>"
    Product.objects.create(sku="EVIL", name=script, price=1, currency="EUR")
    placed = as_alice.post(
        "/api/v1/orders/",
        {"lines": [{"sku": "EVIL", "quantity": 1}]},
        headers={"Idempotency-Key": "k"},
    )
    order = Order.objects.get(pk=placed.json()["id"])

    for row in (order, Record.objects.get(key="k")):
        text = as_boss.get(change(row)).text
        assert script not in text
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "1 × &lt;script&gt;" in as_boss.get(change(order)).text


def test_pages_have_no_inline_script_or_style_and_ask_nobody_else(
    as_boss: Client, paid_by_api: Order, token: str
) -> None:
    urls = [changelist(model) for model in EVERYTHING] + [page("index")]
    urls += [page("orders_order_submit-again", paid_by_api.pk) + f"?key={uuid4()}"]
    urls += [change(model._default_manager.first()) for model in EVERYTHING]  # type: ignore[arg-type]

    for text in [*(as_boss.get(url).text for url in urls), Client().get(page("login")).text]:
        assert not re.search(r"<script(?![^>]*\ssrc=)(?![^>]*application/json)", text)
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", text)
        assert not re.search(r'(?:src|href|action)="(?:https?:)?//', text)
        assert "Charge once" in text


# --- Signing in


@pytest.fixture
def three_attempts(settings: Any) -> None:
    settings.SIGN_IN_RATE = (3, LONG_WINDOW)


def try_to_sign_in(client: Client, password: str, username: str = "boss") -> HttpResponse:
    form = {"username": username, "password": password, "next": page("index")}
    return client.post(page("login"), form)  # type: ignore[return-value]


@pytest.mark.usefixtures("boss", "three_attempts")
def test_past_the_limit_the_right_password_is_refused_too() -> None:
    client = Client()
    tried = [try_to_sign_in(client, "wrong").status_code for _ in range(3)]

    refused = try_to_sign_in(client, "right-password")

    assert tried == [200, 200, 200]
    assert refused.status_code == 429
    assert int(refused["Retry-After"]) > 0
    assert refused["Content-Type"].startswith("text/html")
    assert "Too many attempts" in refused.text
    assert "_auth_user_id" not in client.session
    assert client.get(page("login")).status_code == 200


@pytest.mark.usefixtures("boss", "three_attempts")
def test_within_the_limit_the_right_password_signs_in() -> None:
    client = Client()
    try_to_sign_in(client, "wrong")

    signed = try_to_sign_in(client, "right-password")

    assert (signed.status_code, signed["Location"]) == (302, page("index"))
    assert client.get(page("index")).status_code == 200


@pytest.mark.usefixtures("boss", "three_attempts")
def test_spelling_a_name_in_other_ways_gives_no_more_attempts() -> None:
    spellings = ["boss", " boss ", "ｂｏｓｓ"]
    tried = [try_to_sign_in(Client(), "wrong", name).status_code for name in spellings]

    assert tried == [200, 200, 200]
    assert try_to_sign_in(Client(), "right-password", "Boss").status_code == 429
    assert try_to_sign_in(Client(), "wrong", "somebody-else").status_code == 200


@pytest.mark.usefixtures("boss", "three_attempts")
def test_the_api_and_the_admin_count_the_same_attempts() -> None:
    body = {"username": "boss", "password": "wrong"}
    for _ in range(3):
        Client().post(reverse("sign-in"), body, content_type="application/json")

    assert try_to_sign_in(Client(), "right-password").status_code == 429


@pytest.mark.usefixtures("three_attempts")
def test_nonsense_for_a_name_is_a_form_error() -> None:
    for name in ("", "\0", "x" * 50_000):
        assert try_to_sign_in(Client(), "wrong", name).status_code == 200
