"""How often a request waits for PostgreSQL: each statement, BEGIN and COMMIT is one round trip."""

import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import close_old_connections, connection
from rest_framework.test import APIClient

from benchmarks import history
from orders.models import Order, Product
from payments import services
from payments.models import Account
from tests.support.api_tokens import api_token_of
from web.database import deadlines

pytestmark = pytest.mark.django_db(transaction=True)

HISTORY = 3_000

RoundTrips = Callable[[Callable[[], Any]], int]
Send = Callable[..., Any]


@pytest.fixture
def round_trips() -> Iterator[RoundTrips]:
    """Count an act's round trips on the wire, in a session as the web server has them."""
    deadlines.expect_responses(within_seconds=60)
    connection.close()
    connection.ensure_connection()

    def count(act: Callable[[], Any]) -> int:
        session = connection.connection.pgconn
        with tempfile.TemporaryFile() as messages:
            session.trace(messages.fileno())
            act()
            session.untrace()
            messages.seek(0)
            return messages.read().count(b"ReadyForQuery")

    yield count
    deadlines.expect_responses(within_seconds=0)
    connection.close()


@pytest.fixture
def send(alice: User) -> Send:
    """Send a request of alice's, as the web server does: with a look at the kept connection."""
    client = APIClient(headers={"Authorization": f"Token {api_token_of(alice)}"})
    client.get("/api/v1/accounts/")  # notes the token's use, once an hour

    def send(path: str, body: Any, *, status: int, replayed: bool, key: str = "k") -> None:
        close_old_connections()
        response = client.post(path, body, format="json", headers={"Idempotency-Key": key})
        assert (response.status_code, "Idempotent-Replayed" in response) == (status, replayed)

    return send


def test_a_first_pay_takes_eight_and_its_replay_one(
    send: Send, order: Order, alice_account: Account, round_trips: RoundTrips
) -> None:
    path, body = f"/api/v1/orders/{order.pk}/pay/", {"account": alice_account.pk}

    # authentication, BEGIN, key, 0→1, payment, 1→2, record, COMMIT
    assert round_trips(lambda: send(path, body, status=200, replayed=False)) == 8
    assert round_trips(lambda: send(path, body, status=200, replayed=True)) == 1


def test_a_first_order_takes_six_and_its_replay_one(
    send: Send, product: Product, round_trips: RoundTrips
) -> None:
    body = {"lines": [{"sku": product.sku, "quantity": 2}]}

    # authentication, BEGIN, key, order, record, COMMIT
    assert round_trips(lambda: send("/api/v1/orders/", body, status=201, replayed=False)) == 6
    assert round_trips(lambda: send("/api/v1/orders/", body, status=201, replayed=True)) == 1


def test_no_statement_of_a_pay_is_planned_for_ever(
    send: Send, place: Callable[..., Order], alice: User
) -> None:
    """PostgreSQL makes five plans for the values at hand; then one for all, if that is no worse.

    It judges by statistics: here those of a few thousand orders. Of a few rows any plan looks fine.
    """
    rich = services.open_account(owner=alice, currency="EUR", opening_balance=10**12)
    history.write(connection.connection, orders=HISTORY, amount=place(customer=alice).amount)
    connection.close()
    for number in range(20):
        order = place(customer=alice)
        path, body = f"/api/v1/orders/{order.pk}/pay/", {"account": rich.pk}
        send(path, body, status=200, replayed=False, key=str(number))
    with connection.cursor() as cursor:
        cursor.execute("SELECT custom_plans, statement FROM pg_prepared_statements")
        planned = cursor.fetchall()
    assert len(planned) >= 6
    assert [statement for custom, statement in planned if custom > 5] == []
