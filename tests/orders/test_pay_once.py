"""The boundary around the pay view: what is stored, replayed, refused and rolled back there."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from idempotency.claim import Claim
from idempotency.models import Record
from idempotency.tests.support import age
from orders.models import Order
from orders.services import pay_order
from payments.models import Account, Payment
from payments.services import open_account
from tests.conftest import OPENING, read_only

Pay = Callable[..., Any]


@pytest.fixture
def pay(as_alice: APIClient, order: Order, alice_account: Account) -> Pay:
    def pay(key: str | None = "k", body: Any = None, client: APIClient = as_alice) -> Any:
        headers = {} if key is None else {"Idempotency-Key": key}
        return client.post(
            f"/api/v1/orders/{order.pk}/pay/",
            {"account": alice_account.pk} if body is None else body,
            format="json",
            headers=headers,
        )

    return pay


def problem(response: Any) -> str:
    assert response["Content-Type"] == "application/problem+json"
    return str(response.json()["type"]).removeprefix("/problems/")


def charged(account: Account) -> int:
    balance = Account.objects.get(pk=account.pk).balance
    assert balance is not None
    return OPENING - balance


@pytest.mark.parametrize("key", [None, "", "a b", "x" * 256])
def test_a_missing_or_bad_key_leaves_no_row(key: str | None, pay: Pay) -> None:
    response = pay(key)
    assert response.status_code == 400
    assert problem(response) == f"idempotency-key-{'missing' if key is None else 'invalid'}"
    assert not Record.objects.exists()
    assert not Payment.objects.exists()


def test_a_key_with_another_request_is_refused_and_shows_no_response(
    pay: Pay, order: Order, alice: User, alice_account: Account
) -> None:
    other = open_account(owner=alice, currency="EUR", opening_balance=1_000)
    pay()

    response = pay(body={"account": other.pk})

    assert response.status_code == 422
    assert problem(response) == "idempotency-key-reused"
    assert str(order.pk) not in response.content.decode()
    assert charged(alice_account) == order.amount


def test_a_replay_is_not_given_to_someone_who_is_not_signed_in(pay: Pay) -> None:
    pay()
    assert pay(client=APIClient()).status_code == 401


def test_a_replay_is_not_given_to_a_caller_who_was_shut_out(pay: Pay, alice: User) -> None:
    pay()
    User.objects.filter(pk=alice.pk).update(is_active=False)
    assert pay().status_code == 401


def test_a_decline_is_stored_and_replayed(
    as_alice: APIClient, alice: User, place: Callable[..., Order]
) -> None:
    poor = open_account(owner=alice, currency="EUR", opening_balance=1)
    order = place(customer=alice)
    path = f"/api/v1/orders/{order.pk}/pay/"
    responses = [
        as_alice.post(path, {"account": poor.pk}, headers={"Idempotency-Key": "k"})
        for _ in range(2)
    ]
    assert [response.status_code for response in responses] == [402, 402]
    assert responses[0].content == responses[1].content
    assert responses[1]["Content-Type"] == "application/problem+json"
    assert responses[1]["Idempotent-Replayed"] == "true"
    assert Order.objects.get(pk=order.pk).status == Order.Status.FAILED


def test_a_refusal_of_a_settled_order_is_a_decision_and_is_replayed(pay: Pay) -> None:
    pay("first")
    responses = [pay("second"), pay("second")]
    assert [problem(response) for response in responses] == ["order-already-paid"] * 2
    assert responses[1]["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize("body", [{}, {"account": "x"}, {"account": 10**9}, []])
def test_what_is_not_a_decision_is_not_stored_so_the_key_may_try_again(
    body: Any, pay: Pay, order: Order, alice_account: Account
) -> None:
    refused = pay(body=body)
    assert refused.status_code in {400, 404}
    assert not Record.objects.exists()

    assert pay().status_code == 200
    assert charged(alice_account) == order.amount


@pytest.mark.parametrize(
    "point", ["key-claimed", "order-claimed", "payment-decided", "order-settled", "response-stored"]
)
def test_an_exception_anywhere_leaves_nothing_and_the_key_may_try_again(
    point: str,
    pay: Pay,
    order: Order,
    alice_account: Account,
    at_failpoint: Callable[..., None],
) -> None:
    def fail() -> None:
        raise RuntimeError(point)

    at_failpoint(point, fail)
    broken = pay()

    assert broken.status_code == 500
    assert problem(broken) == "internal-error"
    assert not Record.objects.exists()
    assert Order.objects.get(pk=order.pk).status == Order.Status.SUBMITTED
    assert charged(alice_account) == 0
    assert pay().status_code == 200
    assert charged(alice_account) == order.amount


def conflict(state: str) -> Callable[[], None]:
    """Raise what Django raises for a server's error of this sqlstate."""

    def fail() -> None:
        cause = Exception(state)
        cause.sqlstate = state  # type: ignore[attr-defined]
        raise OperationalError(state) from cause

    return fail


@pytest.mark.parametrize("state", ["55P03", "57014", "53300", "53100"])
def test_other_database_errors_is_a_503_that_says_come_back(
    state: str, pay: Pay, alice_account: Account, at_failpoint: Callable[..., None]
) -> None:
    at_failpoint("payment-decided", conflict(state))
    response = pay()
    assert response.status_code == 503
    assert problem(response) == "temporarily-unavailable"
    assert response.json()["same_key"] is response.json()["retryable"] is True
    assert response["Retry-After"]
    assert charged(alice_account) == 0
    assert pay().status_code == 200


def test_a_conflict_that_never_ends_is_given_up_after_a_bounded_number_of_runs(
    pay: Pay, alice_account: Account
) -> None:
    from idempotency import failpoints

    runs = []

    def hook(name: str) -> None:
        if name == "payment-decided":
            runs.append(name)
            conflict("40P01")()

    failpoints.install(hook)
    try:
        response = pay()
    finally:
        failpoints.install(None)
    assert response.status_code == 503
    assert len(runs) == 3
    assert charged(alice_account) == 0


@pytest.fixture
def order_is_busy(order: Order, alice: User) -> Iterator[None]:
    """Another session holds the lock of this caller's requests for the order."""
    subject = Claim(f"user:{alice.pk}", "other", subject=f"order:{order.pk}")
    other = connection.copy()
    with other.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [subject.subject_lock])
        yield
    other.close()


@pytest.mark.django_db(transaction=True)
def test_a_settled_order_is_refused_at_once_however_busy_it_is(
    pay: Pay, order: Order, alice: User, alice_account: Account, request: pytest.FixtureRequest
) -> None:
    pay_order(customer=alice, order_id=order.pk, account_id=alice_account.pk)
    request.getfixturevalue("order_is_busy")
    assert problem(pay("another-tab")) == "order-already-paid"


@pytest.mark.django_db(transaction=True)
def test_a_busy_order_that_needs_waiting_for_is_waited_for_by_other_keys_too(
    as_alice: APIClient, order: Order, alice_account: Account, order_is_busy: None
) -> None:
    other = connection.copy()
    with other.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("SELECT 1 FROM orders_order WHERE id = %s FOR UPDATE", [order.pk])
        response = as_alice.post(
            f"/api/v1/orders/{order.pk}/pay/",
            {"account": alice_account.pk},
            headers={"Idempotency-Key": "another-tab", "Prefer": "wait=0"},
        )
    other.close()
    assert problem(response) == "idempotency-key-in-use"
    assert not Record.objects.exists()
    assert charged(alice_account) == 0


def test_an_expired_key_is_refused_and_never_run_again(pay: Pay, alice_account: Account) -> None:
    pay()
    paid = charged(alice_account)
    age(days=31)

    response = pay()

    assert response.status_code == 410
    assert problem(response) == "idempotency-key-expired"
    assert charged(alice_account) == paid


@pytest.mark.parametrize(
    "damage",
    [
        {"fingerprint_version": 2},
        {"body": b"\xff\xfe not json"},
    ],
)
def test_a_record_that_cannot_be_read_is_refused_and_never_run_again(
    damage: dict[str, Any], pay: Pay, order: Order, alice_account: Account
) -> None:
    pay()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")  # past the guards
        Record.objects.update(**damage)
        cursor.execute("SET LOCAL session_replication_role = origin")

    response = pay()

    assert response.status_code == 500
    assert problem(response) == "idempotency-record-unreadable"
    assert charged(alice_account) == order.amount


def statements(queries: CaptureQueriesContext) -> list[str]:
    return [query["sql"] for query in queries.captured_queries]


def test_a_pay_costs_two_statements_more_than_the_same_effect_without_a_key(
    pay: Pay,
    order: Order,
    alice: User,
    alice_account: Account,
    place: Callable[..., Order],
) -> None:
    from orders.responses import pay_response

    unkeyed = place(customer=alice)
    with CaptureQueriesContext(connection) as plain, transaction.atomic():
        pay_response(pay_order(customer=alice, order_id=unkeyed.pk, account_id=alice_account.pk))
    with CaptureQueriesContext(connection) as keyed:
        assert pay().status_code == 200

    authentication = 1
    assert len(keyed) == len(plain) + authentication + 2, statements(keyed)


@pytest.mark.django_db(transaction=True)
def test_a_pay_is_one_commit_and_one_flush_and_a_replay_reads_only(pay: Pay) -> None:
    with CaptureQueriesContext(connection) as keyed:
        assert pay().status_code == 200
    assert [sql for sql in statements(keyed) if sql == "COMMIT"] == ["COMMIT"]

    with CaptureQueriesContext(connection) as replayed:
        assert pay()["Idempotent-Replayed"] == "true"
    assert [sql.split()[0] for sql in statements(replayed)] == ["SELECT"]
    with read_only():
        assert pay()["Idempotent-Replayed"] == "true"
        first_with_its_key = pay("another")
    assert first_with_its_key.status_code == 503
    assert problem(first_with_its_key) == "temporarily-unavailable"


def test_nothing_that_could_be_replayed_is_logged(
    pay: Pay, caplog: pytest.LogCaptureFixture, as_alice: APIClient
) -> None:
    secret = "a-key-that-must-not-be-logged"
    with caplog.at_level("DEBUG"):
        pay(secret)
        token = as_alice.post("/api/v1/tokens/").json()["token"]
        pay(token)
    logged = json.dumps([record.__dict__ for record in caplog.records], default=str)
    assert "responded" in logged
    assert secret not in logged
    assert token not in logged
