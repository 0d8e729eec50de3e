"""Query parameters: filters of the list of orders, and what is refused instead of ignored."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import connection
from rest_framework.test import APIClient

from orders.models import Order
from orders.services import advance, pay_order
from payments.models import Account
from payments.services import open_account
from tests.support.records import make_record

ORDERS = "/api/v1/orders/"
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def ids(response: Any) -> list[str]:
    assert response.status_code == 200, response.json()
    return [order["id"] for order in response.json()["results"]]


def refused_parameters(response: Any) -> list[str]:
    assert response.status_code == 400, response.content
    assert response["Content-Type"] == "application/problem+json"
    body = response.json()
    assert body["type"] == "/problems/validation-error"
    return [error["pointer"] for error in body["errors"]]


@pytest.fixture
def an_order_of_each_status(
    alice: User, alice_account: Account, place: Callable[..., Order]
) -> dict[str, str]:
    poor = open_account(owner=alice, currency="EUR", opening_balance=1)
    submitted, paying, paid, failed = (place(customer=alice) for _ in range(4))
    advance(paying.pk, Order.start_paying, account_id=alice_account.pk)
    pay_order(customer=alice, order_id=paid.pk, account_id=alice_account.pk)
    pay_order(customer=alice, order_id=failed.pk, account_id=poor.pk)
    named = {"submitted": submitted, "paying": paying, "paid": paid, "failed": failed}
    return {label: str(order.pk) for label, order in named.items()}


@pytest.fixture
def hourly(alice: User, place: Callable[..., Order]) -> list[str]:
    """Three orders, placed at 11, 12 and 13 o'clock."""

    def place_at(moment: datetime) -> str:
        order = place(customer=alice)
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL session_replication_role = replica")  # past the guards
            Order.objects.filter(pk=order.pk).update(created_at=moment)
            cursor.execute("SET LOCAL session_replication_role = origin")
        return str(order.pk)

    return [place_at(NOON + timedelta(hours=hours)) for hours in (-1, 0, 1)]


# --- Filters


@pytest.mark.parametrize("status", Order.Status)
def test_orders_are_listed_by_status_as_number_or_label(
    status: Order.Status, as_alice: APIClient, an_order_of_each_status: dict[str, str]
) -> None:
    label = status.name.lower()

    by_number = ids(as_alice.get(ORDERS, {"status": status.value}))
    by_label = ids(as_alice.get(ORDERS, {"status": label}))

    assert by_number == by_label == [an_order_of_each_status[label]]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"created_after": "2026-01-02T12:00:00Z"}, slice(1, 3)),
        ({"created_after": "2026-01-02T12:00:00.000001Z"}, slice(2, 3)),
        ({"created_before": "2026-01-02T12:00:00Z"}, slice(0, 1)),
        ({"created_before": "2026-01-02T12:00:00.000001Z"}, slice(0, 2)),
        ({"created_after": "2026-01-02T13:00:00+01:00"}, slice(1, 3)),
        ({"created_before": "2026-01-02T07:00:00-05:00"}, slice(0, 1)),
        (
            {"created_after": "2026-01-02T11:00:00Z", "created_before": "2026-01-02T13:00:00Z"},
            slice(0, 2),
        ),
        (
            {"created_after": "2026-01-02T13:00:00Z", "created_before": "2026-01-02T11:00:00Z"},
            slice(0, 0),
        ),
    ],
)
def test_created_after_includes_its_moment_and_created_before_excludes_it(
    query: dict[str, str], expected: slice, as_alice: APIClient, hourly: list[str]
) -> None:
    assert ids(as_alice.get(ORDERS, query)) == hourly[expected][::-1]


def test_filters_combine_and_hold_on_every_page(
    as_alice: APIClient, alice: User, alice_account: Account, hourly: list[str]
) -> None:
    for order_id in hourly[:2]:
        pay_order(customer=alice, order_id=UUID(order_id), account_id=alice_account.pk)
    query = {"status": "paid", "created_before": "2026-01-02T14:00:00Z", "page_size": "1"}

    first = as_alice.get(ORDERS, query)
    second = as_alice.get(first.json()["next"])

    assert ids(first) + ids(second) == [hourly[1], hourly[0]]
    assert second.json()["next"] is None


def test_a_filter_shows_nobody_elses_orders(
    as_bob: APIClient, an_order_of_each_status: dict[str, str]
) -> None:
    assert ids(as_bob.get(ORDERS, {"status": "paid"})) == []


# --- Refused


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("status", "4"),
        ("status", "-1"),
        ("status", "Paid"),
        ("status", ""),
        ("status", "nul\0"),
        ("created_after", "yesterday"),
        ("created_after", ""),
        ("created_after", "2026-01-02"),
        ("created_after", "2026-01-02T12:00:00"),
        ("created_after", "2026-01-02T12:00:00 01:00"),  # a plus sign that was not encoded
        ("created_after", "2026-13-02T12:00:00Z"),
        ("created_before", "9999-12-31T23:59:59-23:59"),
        ("created_before", "0001-01-01T00:00:00+23:59"),
        ("created_before", "1767355200"),
        ("page_size", "0"),
    ],
)
def test_a_value_that_is_not_valid_is_refused_by_the_parameters_name(
    name: str, value: str, as_alice: APIClient
) -> None:
    assert refused_parameters(as_alice.get(ORDERS, {name: value})) == [f"/{name}"]


def test_every_wrong_parameter_is_named(as_alice: APIClient) -> None:
    refused = refused_parameters(as_alice.get(f"{ORDERS}?stats=paid&created_after=x&a/b~=1"))
    assert sorted(refused) == ["/a~1b~0", "/created_after", "/stats"]


@pytest.mark.parametrize("name", ["status", "page_size", "created_after"])
def test_a_parameter_that_is_given_twice_is_refused(name: str, as_alice: APIClient) -> None:
    assert refused_parameters(as_alice.get(f"{ORDERS}?{name}=1&{name}=2")) == [f"/{name}"]


@pytest.mark.parametrize("path", [ORDERS, f"{ORDERS}{UUID(int=7)}/"])
def test_more_parameters_than_are_read_are_a_bad_request(path: str, as_alice: APIClient) -> None:
    response = as_alice.get(f"{path}?{'a&' * 1500}")
    assert response.status_code == 400
    assert response["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("accepted", ["en", "zh-CN"])
def test_a_refused_parameter_is_explained_in_the_readers_language(
    accepted: str, as_alice: APIClient
) -> None:
    response = as_alice.get(f"{ORDERS}?stats=1", headers={"Accept-Language": accepted})
    explained = {"en": "There is no such query parameter.", "zh-CN": "没有这个查询参数。"}
    assert response.json()["errors"] == [{"pointer": "/stats", "detail": explained[accepted]}]


@pytest.fixture
def reads(alice: User, alice_account: Account, place: Callable[..., Order]) -> dict[str, str]:
    """A path to read for every path of the schema that can be."""
    order = place(customer=alice)
    pay_order(customer=alice, order_id=order.pk, account_id=alice_account.pk)
    make_record(alice, "k")
    schema = APIClient().get("/api/schema/", headers={"Accept": "application/json"}).json()
    return {
        path: path.format(order_id=order.pk, id=alice_account.pk, key="k")
        for path, operations in schema["paths"].items()
        if "get" in operations
    }


def test_no_list_and_no_object_ignores_a_parameter_that_it_does_not_know(
    as_alice: APIClient, reads: dict[str, str]
) -> None:
    assert len(reads) == 9
    for path in reads.values():
        assert as_alice.get(path).status_code == 200, path
        for name in ("nonsense", "format", "ordering"):
            assert refused_parameters(as_alice.get(path, {name: "json"})) == [f"/{name}"], path


def test_what_the_schema_documents_is_what_a_read_takes(
    as_alice: APIClient, reads: dict[str, str]
) -> None:
    schema = APIClient().get("/api/schema/", headers={"Accept": "application/json"}).json()
    valid = {
        "page_size": "1",
        "status": "0",
        "created_after": "2026-01-02T12:00:00Z",
        "created_before": "2026-01-02T12:00:00Z",
    }
    for path, url in reads.items():
        parameters = schema["paths"][path]["get"].get("parameters", ())
        documented = {each["name"] for each in parameters if each["in"] == "query"}
        for name in documented - {"cursor"}:
            assert as_alice.get(url, {name: valid[name]}).status_code == 200, (path, name)
        for name in valid.keys() - documented:
            assert refused_parameters(as_alice.get(url, {name: valid[name]})) == [f"/{name}"]


def test_who_may_not_read_learns_nothing_about_parameters() -> None:
    assert APIClient().get(f"{ORDERS}?nonsense=1").status_code == 401
    assert APIClient().get(f"{ORDERS}{UUID(int=7)}/?nonsense=1").status_code == 401
