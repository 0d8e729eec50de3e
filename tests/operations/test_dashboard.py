"""The operations dashboard: pending orders, mismatches, replays, for those who may view them."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from html import unescape
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.contrib.messages import get_messages
from django.db import OperationalError, connection, transaction
from django.test import Client, override_settings
from django.urls import reverse
from uuid_utils.compat import uuid7

from idempotency import tokens
from idempotency.journal.models import JournaledRequest
from idempotency.models import Record
from operations.audit import RULES
from operations.dashboard import check as dashboard_check
from operations.dashboard.duplicates import BAR, HEIGHT, HOURS, duplicates
from operations.dashboard.lists import ROWS_MAX, duration
from orders.models import Order, PaymentRequest
from orders.services import pay_order
from payments.models import Account, Payment
from tests.conftest import read_only
from tests.support.live import ROOT, another_database
from tests.support.together import together

pytestmark = pytest.mark.django_db(transaction=True)

SECTIONS = {
    "orders.view_order": "Pending orders",
    "orders.view_paymentrequest": "Dead-lettered payments",
    "idempotency_journal.view_journaledrequest": "Duplicates",
}
MISMATCHES = "Mismatches"
# At most: session, user, two of permissions, and one or two for each section.
QUERIES = 14


def url() -> str:
    return reverse("admin:dashboard")


def read_page(client: Client, **query: str) -> str:
    response = client.get(url(), query)
    assert response.status_code == 200
    return unescape(response.text)


def headings(text: str) -> list[str]:
    titles = re.findall(r"<h2[^>]*>(.*?)</h2>", text, re.DOTALL)
    return [re.sub(r"<.*", "", heading, flags=re.DOTALL).strip() for heading in titles]


def shown(text: str, heading: str) -> str:
    """Return a section's text, without tags."""
    (section,) = [
        part for part in re.findall(r"<section>.*?</section>", text, re.DOTALL) if heading in part
    ]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", section))


def order_page(order: Order) -> str:
    return reverse("admin:orders_order_change", args=[order.pk])


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def staff(*rights: str) -> User:
    user = User.objects.create_user(f"clerk-{uuid4()}", is_staff=True)
    for right in rights:
        app, codename = right.split(".")
        user.user_permissions.add(
            Permission.objects.get(content_type__app_label=app, codename=codename)
        )
    return user


@pytest.fixture
def boss(db: None) -> User:
    return User.objects.create_superuser("boss")


@pytest.fixture
def as_boss(boss: User) -> Client:
    return signed_in(boss)


@pytest.fixture
def remote(settings: Any) -> None:
    """The payment system is another process, which gets no request here."""
    settings.PAYMENTS_URL = "http://payments.example"


@pytest.fixture
def request_payment(
    remote: None, alice: User, alice_account: Account, place: Callable[..., Order]
) -> Callable[..., Order]:
    """Place an order and click on Pay: it is in 1, and its payment in the outbox."""

    def request_payment(**state: Any) -> Order:
        order = place(customer=alice)
        pay_order(customer=alice, order_id=order.pk, account_id=alice_account.pk)
        PaymentRequest.objects.filter(pk=order.pk).update(**{"request_id": "r-ask"} | state)
        return order

    return request_payment


@pytest.fixture
def dead_lettered(request_payment: Callable[..., Order]) -> Order:
    return request_payment(dead_lettered=True, attempts=2, last_error="403 permission-denied")


@pytest.fixture
def paid(as_alice: Any, alice_account: Account, product: Any) -> Order:
    """An order that its customer placed and paid over the API, each under a key."""
    placed = as_alice.post(
        "/api/v1/orders/",
        {"lines": [{"sku": product.sku, "quantity": 2}]},
        headers={"Idempotency-Key": "k-place", "X-Request-Id": "r-place"},
    )
    with override_settings(PAYMENTS_URL=""):
        as_alice.post(
            f"{placed['Location']}pay/",
            {"account": alice_account.pk},
            headers={"Idempotency-Key": "k-pay", "X-Request-Id": "r-pay"},
        )
    order = Order.objects.get(pk=placed.json()["id"])
    assert order.status == Order.Status.PAID
    return order


@contextmanager
def past_every_guard() -> Iterator[Any]:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        yield cursor


def age(order: Order, seconds: int) -> None:
    with past_every_guard() as cursor:
        for table, column, key in (
            ("orders_order", "updated_at", "id"),
            ("orders_paymentrequest", "created_at", "order_id"),
        ):
            cursor.execute(
                f"UPDATE {table} SET {column} = now() - make_interval(secs => %s) WHERE {key} = %s",
                [seconds, order.pk],
            )


# --- Pending orders and the outbox


def test_pending_orders_are_listed_oldest_first_with_the_state_of_their_request(
    as_boss: Client,
    request_payment: Callable[..., Order],
    dead_lettered: Order,
    place: Any,
    alice: User,
) -> None:
    fresh, sent = request_payment(), request_payment(attempts=3, last_error="ReadTimeoutError")
    place(customer=alice)  # not clicked on
    for order, seconds in ((sent, 7530), (fresh, 65), (dead_lettered, 3690)):
        age(order, seconds)

    text = shown(read_page(as_boss), "Pending orders")

    assert text.split("Outbox", 1)[0].split()[:3] == ["Pending", "orders", "3"]
    assert [text.index(str(order.pk)) for order in (sent, dead_lettered, fresh)] == sorted(
        text.index(str(order.pk)) for order in (sent, dead_lettered, fresh)
    )
    assert f"{sent.pk} 2 h 5 min alice €5.00 sent 3 times" in text
    assert f"{dead_lettered.pk} 1 h 1 min alice €5.00 dead-lettered" in text
    assert re.search(rf"{fresh.pk} 1 min \d+ s alice €5.00 not sent yet", text)


def test_the_outbox_is_shown_in_numbers(
    as_boss: Client, request_payment: Callable[..., Order], dead_lettered: Order
) -> None:
    request_payment()
    late = request_payment(attempts=3, last_error="ReadTimeoutError")
    age(late, 90)

    text = shown(read_page(as_boss), ">Outbox</h2>")

    assert "Stuck: the oldest payment waits for longer than 1 min." in text
    assert re.search(r"Open 2 Oldest 1 min 3\d s Unknown outcome 1 Retries 2 Stuck yes", text)


def test_an_empty_dashboard_says_that_nothing_waits(as_boss: Client) -> None:
    text = read_page(as_boss)
    assert "No order waits for its payment." in text
    assert "errornote" not in text


def test_dead_lettered_payments_are_shown_with_their_last_error_and_others_are_not(
    as_boss: Client, request_payment: Callable[..., Order], dead_lettered: Order
) -> None:
    other = request_payment(attempts=1, last_error="ReadTimeoutError")
    text = read_page(as_boss)
    listed = shown(text, "Dead-lettered payments")
    assert "403 permission-denied" in listed
    assert str(other.pk) not in listed
    assert f'href="{order_page(dead_lettered)}"' in text


def test_no_more_than_fifty_rows_are_shown_and_the_page_names_the_limit(
    as_boss: Client, request_payment: Callable[..., Order]
) -> None:
    orders = [request_payment(dead_lettered=True) for _ in range(ROWS_MAX + 2)]

    text = read_page(as_boss, q="r-ask")

    paying, waiting = shown(text, "Pending orders"), shown(text, "Dead-lettered payments")
    assert str(ROWS_MAX + 2) in paying
    for section in (paying, waiting):
        assert "These are the oldest 50." in section
        assert sum(str(order.pk) in section for order in orders) == ROWS_MAX
    results = shown(text, "Found")
    assert results.count("There are more; these are the first 50.") == 1  # of payment requests


def test_the_page_makes_no_more_queries_for_more_orders(
    as_boss: Client, request_payment: Callable[..., Order], django_assert_max_num_queries: Any
) -> None:
    with django_assert_max_num_queries(QUERIES) as empty:
        read_page(as_boss)
    for number in range(60):
        request_payment(dead_lettered=bool(number % 2))
    journal_at(0, "replayed")

    with django_assert_max_num_queries(QUERIES) as full:
        read_page(as_boss)

    assert len(full) == len(empty)


def test_a_duration_is_shown_in_its_two_largest_units() -> None:
    shown_as = {
        -5: "0 s",
        0: "0 s",
        59.9: "59 s",
        60: "1 min",
        3725: "1 h 2 min",
        90_000: "1 d 1 h",
    }
    assert {seconds: duration(seconds) for seconds in shown_as} == shown_as


# --- Who sees what


def test_visitors_and_customers_are_sent_to_sign_in(client: Client, alice: User) -> None:
    for someone in (client, signed_in(alice)):
        for address in (url(), reverse("admin:dashboard-requeue", args=[uuid4()])):
            response = someone.get(address)
            assert response.status_code == 302
            assert response["Location"].startswith(reverse("admin:login"))


@pytest.mark.parametrize("right", SECTIONS)
def test_a_section_is_for_those_who_may_view_its_rows(
    right: str, dead_lettered: Order, paid: Order
) -> None:
    text = read_page(signed_in(staff(right)), q=str(dead_lettered.pk))
    for needed, heading in SECTIONS.items():
        assert (heading in headings(text)) == (needed == right)
    assert MISMATCHES not in headings(text)
    assert "Requeue" not in text


def test_staff_without_any_right_see_an_empty_dashboard_and_no_link_to_it(
    dead_lettered: Order, paid: Order
) -> None:
    client = signed_in(staff())
    text = read_page(client, q="k-pay", check="1")
    assert headings(text) == []
    assert "You don't have permission to view anything here." in text
    assert str(dead_lettered.pk) not in text
    assert url() not in client.get(reverse("admin:index")).text


def test_the_check_is_for_those_who_may_view_everything_that_it_reads(paid: Order) -> None:
    everything = ["orders.view_order", "payments.view_payment", "idempotency.view_record"]
    assert "rules of the audit hold" in read_page(signed_in(staff(*everything)), check="1")
    for missing in everything:
        rights = [right for right in everything if right != missing]
        text = read_page(signed_in(staff(*rights)), check="1")
        assert MISMATCHES not in headings(text)
        assert "audit" not in text


def test_the_state_of_a_payment_request_is_for_those_who_may_view_the_outbox(
    dead_lettered: Order,
) -> None:
    row = shown(read_page(signed_in(staff("orders.view_order"))), "Pending orders")
    assert str(dead_lettered.pk) in row
    assert "dead-lettered" not in row


@pytest.mark.parametrize(
    ("right", "groups"),
    [
        ("orders.view_order", []),
        ("idempotency.view_record", ["Idempotency records"]),
        ("orders.view_paymentrequest", []),
        ("payments.view_payment", []),
    ],
)
def test_nothing_is_found_by_way_of_what_somebody_may_not_view(
    right: str, groups: list[str], paid: Order
) -> None:
    """(The key leads to its order only by way of the record.)"""
    text = read_page(signed_in(staff(right)), q="k-pay")
    assert re.findall(r"<h3[^>]*>(.*?)</h3>", text) == groups
    assert order_page(paid) not in text


def test_the_dashboard_is_linked_at_the_top_of_the_index_and_in_the_sidebar(
    as_boss: Client,
) -> None:
    index = as_boss.get(reverse("admin:index")).text
    assert index.index(f'href="{url()}"') < index.index(reverse("admin:orders_order_changelist"))
    assert f'href="{url()}"' in as_boss.get(reverse("admin:orders_order_changelist")).text
    assert as_boss.get(reverse("admin:app_list", args=["orders"])).status_code == 200


# --- Requeueing


def requeue(client: Client, order: Order) -> str:
    response: Any = client.post(reverse("admin:dashboard-requeue", args=[order.pk]))
    assert response.status_code == 302
    assert response["Location"] == url()
    *_, message = get_messages(response.wsgi_request)
    return str(message)


def logged(order: Order) -> list[str]:
    entries = LogEntry.objects.filter(object_id=str(order.pk))
    return [entry.get_change_message() for entry in entries]


def test_a_dead_lettered_payment_is_requeued_and_logged_once_however_often_it_is_clicked(
    as_boss: Client, request_payment: Callable[..., Order], dead_lettered: Order
) -> None:
    other = request_payment(dead_lettered=True)
    button = f'action="{reverse("admin:dashboard-requeue", args=[dead_lettered.pk])}"'
    assert button in read_page(as_boss)

    shown_messages = [requeue(as_boss, dead_lettered) for _ in range(3)]

    assert shown_messages == [
        f"{dead_lettered.pk}: Requeued.",
        f"{dead_lettered.pk}: It was not dead-lettered, nothing changed.",
        f"{dead_lettered.pk}: It was not dead-lettered, nothing changed.",
    ]
    assert logged(dead_lettered) == ["Its payment was requeued, from the dashboard."]
    assert button not in read_page(as_boss)
    assert PaymentRequest.objects.get(pk=other.pk).dead_lettered
    assert not PaymentRequest.objects.get(pk=dead_lettered.pk).dead_lettered


def test_the_button_pressed_twice_at_once_requeues_once_and_logs_once(
    boss: User, dead_lettered: Order
) -> None:
    clients = [signed_in(boss) for _ in range(4)]

    shown_messages = together(len(clients), lambda number: requeue(clients[number], dead_lettered))

    assert sum("Requeued." in text for text in shown_messages) == 1
    assert len(logged(dead_lettered)) == 1
    assert not PaymentRequest.objects.get(pk=dead_lettered.pk).dead_lettered


def test_a_log_that_cant_be_written_leaves_the_payment_dead_lettered(
    as_boss: Client, dead_lettered: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OperationalError("busy")

    monkeypatch.setattr(LogEntry.objects, "log_actions", refuse)

    assert "The database was busy. Nothing changed; try again." in requeue(as_boss, dead_lettered)
    assert PaymentRequest.objects.get(pk=dead_lettered.pk).dead_lettered


def test_only_who_may_change_orders_and_view_the_outbox_may_requeue(dead_lettered: Order) -> None:
    address = reverse("admin:dashboard-requeue", args=[dead_lettered.pk])
    for rights in (["orders.view_paymentrequest"], ["orders.change_order", "orders.view_order"]):
        client = signed_in(staff(*rights))
        assert address not in read_page(client)
        assert client.post(address).status_code == 403
    assert PaymentRequest.objects.get(pk=dead_lettered.pk).dead_lettered

    operator = signed_in(staff("orders.view_paymentrequest", "orders.change_order"))

    assert address in read_page(operator)
    assert "Requeued." in requeue(operator, dead_lettered)


def test_the_button_is_a_post_with_a_csrf_token(boss: User, dead_lettered: Order) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(boss)
    address = reverse("admin:dashboard-requeue", args=[dead_lettered.pk])
    assert client.get(address).status_code == 302  # as after signing in on the way
    assert client.post(address).status_code == 403
    assert PaymentRequest.objects.get(pk=dead_lettered.pk).dead_lettered

    page = client.get(url())
    token = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)[-1]

    assert client.post(address, {"csrfmiddlewaretoken": token}).status_code == 302
    assert not PaymentRequest.objects.get(pk=dead_lettered.pk).dead_lettered


def test_an_unknown_order_is_reported_as_not_dead_lettered(as_boss: Client, boss: User) -> None:
    nobodys = Order(pk=uuid4())
    assert requeue(as_boss, nobodys).endswith("It was not dead-lettered, nothing changed.")
    assert logged(nobodys) == []


def test_reading_the_dashboard_writes_nothing(
    as_boss: Client, dead_lettered: Order, paid: Order
) -> None:
    with read_only():
        read_page(as_boss, q="k-pay", check="1")


# --- Search


def search(client: Client, text: str) -> dict[str, set[str]]:
    """Return the addresses that a search leads to, by their group's heading."""
    page = read_page(client, q=text)
    section = page.split("<h2", 2)[1] if "Found" in headings(page) else ""
    groups = re.findall(r"<h3[^>]*>(.*?)</h3>(.*?)</table>", section, re.DOTALL)
    return {
        title: set(re.findall(r'<th scope="row"><a href="([^"]+)"', rows)) for title, rows in groups
    }


def records(*keys: str) -> set[str]:
    return {
        reverse("admin:idempotency_record_change", args=[record.pk])
        for record in Record.objects.filter(key__in=keys)
    }


def test_a_key_finds_its_record_and_the_order_that_this_names(as_boss: Client, paid: Order) -> None:
    assert search(as_boss, "k-place") == {
        "Orders": {order_page(paid)},
        "Idempotency records": records("k-place"),
    }


def test_an_order_id_finds_the_order_its_requests_and_its_payment(
    as_boss: Client, paid: Order, dead_lettered: Order
) -> None:
    payment = reverse("admin:payments_payment_changelist")
    for spelt in (str(paid.pk), f" {paid.pk.hex.upper()} "):
        groups = search(as_boss, spelt)
        assert groups["Orders"] == {order_page(paid)}
        assert groups["Idempotency records"] == records("k-place", "k-pay")
        (page,) = groups["Payments"]
        assert page.startswith(payment)
        assert set(groups) == {"Orders", "Idempotency records", "Payments"}


def test_a_request_id_finds_its_record_its_order_and_its_payment_request(
    as_boss: Client, paid: Order, request_payment: Callable[..., Order]
) -> None:
    sent = request_payment(request_id="r-pay")
    assert search(as_boss, "r-pay") == {
        "Orders": {order_page(paid), order_page(sent)},
        "Idempotency records": records("k-pay"),
        "Payment requests": {reverse("admin:orders_paymentrequest_change", args=[sent.pk])},
    }


def test_a_token_not_used_yet_is_found_by_pasting_it_and_never_shown_again(
    as_boss: Client, alice: User
) -> None:
    token, _ = tokens.issue(f"user:{alice.pk}")
    digest = tokens.digest(token)

    assert search(as_boss, token) == {
        "Tokens not used yet": {reverse("admin:idempotency_token_change", args=[digest])}
    }
    assert search(as_boss, token[:-1]) == {}
    assert search(signed_in(staff("idempotency.view_record")), token) == {}


@pytest.mark.parametrize(
    "text",
    [
        "k-p",
        "%",
        "_",
        "k\0pay",
        "x" * 500,
        "'; --",
        "<script>",
        "k-pay k-pay",
        "日本",
        "\\",
        "None",
    ],
)
def test_any_other_text_finds_nothing_and_is_no_error(
    text: str, as_boss: Client, paid: Order, dead_lettered: Order
) -> None:
    page = as_boss.get(url(), {"q": text})
    assert page.status_code == 200
    assert "Nothing found." in page.text
    assert search(as_boss, text) == {}
    assert "<script>" not in page.text


def test_no_text_is_no_search(as_boss: Client, paid: Order) -> None:
    for text in ("", "  "):
        assert "Found" not in headings(read_page(as_boss, q=text))


def test_a_search_that_takes_too_long_is_a_sentence(
    as_boss: Client, paid: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    def give_up(*_: Any) -> None:
        raise OperationalError("canceling statement due to statement timeout")

    monkeypatch.setattr("operations.dashboard.search._Search._records", give_up)

    assert "The search took too long and was given up." in read_page(as_boss, q="k-pay")


# --- Mismatches


def test_nothing_is_checked_without_a_click(
    as_boss: Client, paid: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("operations.dashboard.page.check", lambda: pytest.fail("checked"))
    assert "Check now" in shown(read_page(as_boss), MISMATCHES)
    read_page(as_boss, check="0")


def test_a_sound_shop_has_no_mismatches(as_boss: Client, paid: Order) -> None:
    text = shown(read_page(as_boss, check="1"), MISMATCHES)
    assert f"All {len(RULES)} rules of the audit hold." in text
    assert "Compared: orders 1, payments 1. They agree." in text


def test_a_planted_difference_is_found_by_the_audit_and_by_the_comparison(
    as_boss: Client, paid: Order, place: Callable[..., Order], alice: User
) -> None:
    place(customer=alice)
    with past_every_guard() as cursor:
        cursor.execute("UPDATE payments_payment SET amount = 501")
        cursor.execute("UPDATE payments_payment SET created_at = now() - interval '3690 s'")
        cursor.execute("UPDATE orders_order SET updated_at = now() - interval '2 hours'")

    page = read_page(as_boss, check="1")

    text = shown(page, MISMATCHES)
    assert "a payment is on its order's terms 2 1" in text
    assert "rules of the audit hold" not in text
    assert "Orders and payments on different terms 1" in text
    account = f"account {paid.account_id}"
    assert f"{paid.pk} paid, 500 EUR, {account} succeeded, 501 EUR, {account} 1 h 1 min no" in text
    assert "They agree." not in text
    section = page[page.index("different terms") :]
    assert f'href="{order_page(paid)}"' in section
    assert f"{reverse('admin:payments_payment_changelist')}?q={paid.pk}" in section


def test_a_difference_that_may_settle_itself_is_listed_as_in_flight(
    as_boss: Client, request_payment: Callable[..., Order]
) -> None:
    old, young = request_payment(), request_payment()
    age(old, 3690)
    text = shown(read_page(as_boss, check="1"), MISMATCHES)
    assert "Orders still paying 1 1 more is younger than a minute" in text
    assert re.search(rf"{old.pk} paying, 500 EUR, account \d+ - 1 h 1 min no", text)
    assert re.search(rf"{young.pk} paying, 500 EUR, account \d+ - \d+ s yes", text)


def test_a_side_that_cant_be_read_is_a_sentence_without_its_password(
    as_boss: Client, paid: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAYMENTS_DATABASE_URL", "postgres://shop:s3cret@127.0.0.1:1/none")
    text = shown(read_page(as_boss, check="1"), MISMATCHES)
    assert "Orders could not be compared with payments: Can't read the payments:" in text
    assert "s3cret" not in text
    assert "rules of the audit hold" in text
    assert "They agree." not in text


def test_a_database_that_cant_be_audited_is_a_sentence(
    as_boss: Client, paid: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise OperationalError("server closed the connection\nunexpectedly")

    monkeypatch.setattr("operations.audit.check_invariants", refuse)
    text = shown(read_page(as_boss, check="1"), MISMATCHES)
    assert "This database could not be checked: server closed the connection" in text
    assert "They agree." in text
    assert "rules of the audit hold" not in text


def test_two_checks_at_once_are_one(as_boss: Client, paid: Order) -> None:
    with dashboard_check._running:
        text = shown(read_page(as_boss, check="1"), MISMATCHES)
    assert "Somebody's check is still running." in text
    assert "audit hold" not in text
    assert "They agree." in shown(read_page(as_boss, check="1"), MISMATCHES)


# --- The duplicates


def this_hour() -> datetime:
    """Return the start of the database's present hour."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT date_trunc('hour', now(), 'UTC')")
        hour: datetime = cursor.fetchone()[0].astimezone(UTC)
    return hour


def journal_at(hours_back: int, outcome: str, count: int = 1) -> None:
    """Have so many requests journaled at the start of an hour."""
    at = this_hour() - timedelta(hours=hours_back)
    facts = {"scope": "user:1", "milliseconds": 1, "waited_milliseconds": 0, "steps": []}
    JournaledRequest.objects.bulk_create(
        JournaledRequest(received_at=at, outcome=outcome, **facts) for _ in range(count)
    )


def test_the_bars_are_as_high_as_the_counts_and_stand_at_their_hours(as_boss: Client) -> None:
    counts = {("replay", 3): 40, ("conflict", 3): 10, ("replay", 20): 1, ("reused", 7): 33}
    journal_at(3, "waited", 15)
    journal_at(3, "replayed", 20)
    journal_at(3, "superseded", 5)
    journal_at(3, "in-use", 6)
    journal_at(3, "expired", 4)
    journal_at(20, "replayed")
    journal_at(7, "reused", 33)
    journal_at(3, "executed", 50)  # no duplicates
    journal_at(HOURS, "replayed", 99)  # too long ago

    text = read_page(as_boss)

    now = this_hour()
    drawn = re.findall(
        r'<rect class="(\w+)" x="(\d+)" y="([\d.]+)" width="\d+" height="([\d.]+)">'
        r"<title>(\d\d):00: (\d+)</title>",
        text,
    )
    bars = {(kind, (now.hour - int(hour)) % 24): bar for kind, *bar, hour, _ in drawn}
    assert bars.keys() == counts.keys()
    for place, (_, y, height) in bars.items():
        assert float(height) == pytest.approx(HEIGHT * counts[place] / 40, abs=0.01)
        assert float(y) + float(height) == pytest.approx(HEIGHT, abs=0.01)
    lefts = {place: int(x) for place, (x, *_) in bars.items()}
    assert sorted(lefts, key=lambda place: lefts[place]) == [
        ("replay", 20),
        ("reused", 7),
        ("replay", 3),
        ("conflict", 3),
    ]
    assert lefts["conflict", 3] == lefts["replay", 3] + BAR  # beside each other
    at = now - timedelta(hours=3)
    section = shown(text, "Duplicates")
    assert f"{at:%Y-%m-%d %H:%M} 40 10 0" in section
    assert "84 duplicates in 24 hours, 0 orders charged twice" in section
    assert "41 got the first response" in section


def test_the_plot_is_an_image_with_a_name_and_its_numbers_are_a_table(as_boss: Client) -> None:
    journal_at(2, "in-use")
    text = read_page(as_boss)
    svg = text[text.index("<svg class") :]
    assert 'role="img" aria-labelledby="plot-title plot-text"' in svg
    assert '<title id="plot-title">Duplicates in each of the last 24 hours' in svg
    assert '<desc id="plot-text">' in svg
    assert "1 duplicate in 24 hours" in text
    table = text[text.index("<details>") : text.index("</details>")]
    assert table.count('<th scope="row">') == HOURS


def test_without_any_duplicate_there_is_a_sentence_and_no_plot(as_boss: Client) -> None:
    text = read_page(as_boss)
    assert "0 duplicates in 24 hours, <strong>0 orders charged twice" in text
    assert "<rect" not in text


def test_two_payments_of_an_order_would_be_counted(paid: Order) -> None:
    with transaction.atomic(), connection.cursor() as cursor:  # the database stops it otherwise
        cursor.execute("ALTER TABLE payments_payment DROP CONSTRAINT payments_payment_order_id_key")
        cursor.execute("ALTER TABLE payments_payment DISABLE TRIGGER USER")
        once = duplicates().charged_twice
        payment = Payment.objects.get(order_id=paid.pk)
        payment.pk = uuid7()
        payment.save(force_insert=True)
        charged_twice = duplicates().charged_twice
        Payment.objects.filter(pk=payment.pk).update(outcome=Payment.Outcome.DECLINED)
        once_and_declined = duplicates().charged_twice
        payment.delete()
        payment.pk = UUID(int=uuid7().int - (25 * 3_600_000 << 80))  # made 25 hours ago
        payment.save(force_insert=True)
        charged_twice_lately = duplicates().charged_twice
        transaction.set_rollback(True)

    assert charged_twice == 1
    assert (once, once_and_declined, charged_twice_lately) == (0, 0, 0)


def test_the_outbox_is_not_shown_where_payments_are_made_in_this_process(
    as_boss: Client, settings: Any
) -> None:
    assert 'id="outbox"' not in read_page(as_boss)
    settings.PAYMENTS_URL = "http://payments.example"
    text = read_page(as_boss)
    section = shown(text, ">Outbox</h2>")
    assert "Nothing is dead-lettered." in text
    assert "Open 0 Oldest - Unknown outcome 0 Retries 0 Stuck no" in section


# --- The page


def test_the_page_has_no_inline_style_or_script_and_labels_what_it_shows(
    as_boss: Client, paid: Order, dead_lettered: Order
) -> None:
    journal_at(2, "replayed", 3)
    text = as_boss.get(url(), {"q": str(paid.pk), "check": "1"}).text
    assert not re.search(r"<script(?![^>]*\ssrc=)(?![^>]*application/json)", text)
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", text)
    main = text[text.index("<main") : text.index("</main>")]
    assert '<label for="q">' in main
    assert all("scope=" in head for head in re.findall(r"<th\b[^>]*>", main))
    assert all("aria-labelledby=" in table for table in re.findall(r"<table\b[^>]*>", main))
    ids = re.findall(r'\sid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    named = {
        name for names in re.findall(r'aria-labelledby="([^"]+)"', main) for name in names.split()
    }
    assert named <= set(ids)
    levels = [int(level) for level in re.findall(r"<h([1-6])\b", main)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_a_script_in_an_error_is_shown_and_not_run(
    as_boss: Client, request_payment: Callable[..., Order]
) -> None:
    request_payment(dead_lettered=True, last_error="<script>alert(1)</script>")
    text = as_boss.get(url()).text
    assert "<script>alert(1)" not in text
    assert "&lt;script&gt;alert(1)" in text


# --- Roles

VISIT = """
import json, uuid, django
django.setup()
from django.contrib.auth.models import User
from django.test import Client, override_settings
client = Client(HTTP_HOST="localhost")
client.force_login(User.objects.create_superuser("boss"))
responses = [
    client.get("/admin/dashboard/", {"check": "1", "q": text}) for text in ("k", "%032x" % 7)
]
responses += [client.get("/admin/"), client.post(f"/admin/dashboard/{uuid.UUID(int=7)}/requeue/")]
print(json.dumps([[each.status_code, each.text] for each in responses]))
"""


@pytest.fixture
def other_database() -> Iterator[str]:
    """A database of its own on the tests' server, empty."""
    with another_database("dashboard") as url:
        yield url


@pytest.mark.parametrize(
    ("role", "there", "requeue"),
    [
        ("orders", {"Pending orders", "Outbox", "Dead-lettered payments"}, 302),
        ("payments", set(), 403),
    ],
)
def test_each_of_the_two_systems_has_a_dashboard(
    role: str, there: set[str], requeue: int, other_database: str
) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "DEBUG": "true",
        "ROLE": role,
        "DATABASE_URL": other_database,
        "PAYMENTS_URL": "http://payments.example" if role == "orders" else "",
        "PAYMENTS_TOKEN": "token",
        "DJANGO_SETTINGS_MODULE": "config.settings",
    }

    def run(*command: str) -> str:
        ran = subprocess.run(
            [sys.executable, *command],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    run("manage.py", "migrate", "--verbosity", "0")
    dashboard, searched, index, sent = json.loads(run("-c", VISIT).splitlines()[-1])

    assert [dashboard[0], searched[0], index[0], sent[0]] == [200, 200, 200, requeue]
    always = {"Found", "Duplicates", MISMATCHES}
    assert set(headings(unescape(dashboard[1]))) == there | always
    other = "payments" if role == "orders" else "orders"
    text = shown(unescape(dashboard[1]), MISMATCHES)
    assert f"not compared with payments: {other.upper()}_DATABASE_URL is not set." in text
    assert "the audit" in text
    assert "/admin/dashboard/" in index[1]


def test_a_payment_is_found_by_its_order_only(
    as_boss: Client, paid: Order, alice: User, alice_account: Account, place: Callable[..., Order]
) -> None:
    other = place(customer=alice)
    pay_order(customer=alice, order_id=other.pk, account_id=alice_account.pk)

    found = read_page(as_boss, q=str(paid.pk)).partition('id="found"')[2].partition("</section>")[0]

    assert str(Payment.objects.get(order_id=paid.pk).pk) in found
    assert str(Payment.objects.get(order_id=other.pk).pk) not in found


def test_a_duplicates_request_id_leads_to_its_order(
    as_boss: Client, alice: User, place: Callable[..., Order]
) -> None:
    order, other = place(customer=alice), place(customer=alice)
    journal_at(0, "replayed")
    JournaledRequest.objects.update(subject=f"order:{other.pk}", request_id="another")
    journal_at(0, "replayed")
    JournaledRequest.objects.filter(request_id="").update(
        subject=f"order:{order.pk}", request_id="of-a-duplicate", key_digest="0123456789ab"
    )

    for text in ("of-a-duplicate", "0123456789ab"):
        page = as_boss.get(reverse("admin:dashboard"), {"q": text}).text
        found = page.partition('id="found"')[2].partition("</section>")[0]
        assert str(order.pk) in found
        assert str(other.pk) not in found
