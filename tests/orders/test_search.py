"""Orders are found by what a customer or an operator has at hand."""

from collections.abc import Callable
from datetime import UTC, datetime
from unittest.mock import patch
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from orders import search
from orders.models import Order
from web import uuid7
from web.money import in_minor_units

Place = Callable[..., Order]


def found(text: str) -> list[Order]:
    return list(search.matching(text))


@pytest.fixture
def orders(alice: User, bob: User, place: Place) -> list[Order]:
    """One of alice's for 2.50, one for 5.00, and one of bob's for 2.50."""
    User.objects.filter(pk=alice.pk).update(email="Alice@Example.com")
    return [
        place(customer=alice, quantity=1),
        place(customer=alice, quantity=2),
        place(customer=bob, quantity=1),
    ]


def test_each_word_narrows_the_search_down_and_the_newest_comes_first(orders: list[Order]) -> None:
    small, large, of_bob = orders
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    assert found("alice") == [large, small]
    assert found("alice@example.com") == [large, small]
    assert found("alice 2.50") == [small]
    assert found("2,50") == [of_bob, small]
    assert found("€2.50") == [of_bob, small]
    assert found("5 EUR alice") == [large]
    assert found("5 USD") == []
    assert found(f"bob {day}") == [of_bob]
    assert found("bob 1999-01-01") == []
    assert found("nobody") == []
    assert found("") == []
    assert found("a " * 7) == []


def test_an_order_is_found_by_its_id_its_beginning_and_its_end(orders: list[Order]) -> None:
    for order in orders:
        assert found(str(order.pk)) == [order]
        assert found(order.pk.hex) == [order]
        assert order in found(str(order.pk)[:8])
        assert order in found(str(order.pk)[:13].upper())
        assert found(str(order.pk)[-12:]) == [order]
        assert found(str(order.pk)[-6:].upper()) == [order]
        assert found(str(order.pk)[-5:]) == []
    assert found("ffffffff") == []


def test_a_time_is_a_minute_or_a_second_of_a_day(alice: User, place: Place) -> None:
    at = datetime(2026, 11, 26, 0, 18, 11, tzinfo=UTC)
    pk = UUID(int=(int(at.timestamp() * 1000) << 80) + (7 << 76) + (2 << 62))
    with patch("orders.services.uuid7", return_value=pk):
        order = place(customer=alice)
    for text in ("2026-11-26", "2026-11-26 00:18", "0:18 2026-11-26", "2026-11-26 00:18:11"):
        assert found(text) == [order], text
    for text in ("2026-11-26 00:19", "2026-11-26 00:18:12", "2026-11-27", "2026-13-01", "25:00"):
        assert found(text) == [], text
    assert found("2026-11-26 2026-11-27") == []
    assert uuid7.made_at(pk) == at


@pytest.mark.parametrize(
    "text", ["alice@example.com", "2.50", "01a21a80", "c0ffee", "2026-11-26 00:18"]
)
def test_a_search_reads_orders_through_an_index(text: str, orders: list[Order]) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
    with CaptureQueriesContext(connection) as captured:
        found(text)
    queries = [each["sql"] for each in captured if "orders_order" in each["sql"]]
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {queries[-1]}")
        plan = " ".join(line for (line,) in cursor.fetchall())
    assert "Seq Scan on orders_order" not in plan


@pytest.mark.parametrize(
    ("text", "currency", "amount"),
    [
        ("2.50", "EUR", 250),
        ("2,5", "EUR", 250),
        ("2.505", "EUR", None),
        ("100", "JPY", 100),
        ("1.5", "JPY", None),
        ("ten", "EUR", None),
        ("nan", "EUR", None),
    ],
)
def test_a_written_amount_is_read_in_its_currency(
    text: str, currency: str, amount: int | None
) -> None:
    assert in_minor_units(text, currency) == amount
