"""The audit finds what was corrupted past every guard, and exits with 1."""

import json
from collections.abc import Callable
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection, transaction
from rest_framework.test import APIClient

from operations.audit import RULES, check_invariants, count_breaches
from orders.models import Order
from orders.services import pay_order
from payments.models import Account
from tests.conftest import read_only
from tests.support.records import make_record

pytestmark = pytest.mark.django_db(transaction=True)

# By rule (its place in RULES): the damage that it must find.
DAMAGE: dict[int, str] = {
    0: """ALTER TABLE payments_payment DROP CONSTRAINT payments_payment_order_id_key;
          INSERT INTO payments_payment (id, order_id, account_id, amount, currency, outcome)
          SELECT gen_random_uuid(), order_id, account_id, amount, currency, 'declined'
            FROM payments_payment""",
    1: "DELETE FROM payments_payment",
    2: "UPDATE orders_order SET status = 3 WHERE status = 2",
    3: """UPDATE orders_order SET status = 1 WHERE status = 2;
          UPDATE payments_payment SET created_at = now() - interval '1 hour'""",
    4: "UPDATE payments_payment SET amount = amount + 1",
    5: "DELETE FROM payments_entry WHERE amount > 0",
    6: "UPDATE payments_payment SET outcome = 'declined'",
    7: "UPDATE payments_account SET balance = balance - 1 WHERE owner_id IS NOT NULL",
    8: "UPDATE payments_account SET balance = balance + 1 WHERE owner_id IS NOT NULL",
    9: "UPDATE orders_orderline SET quantity = quantity + 1",
    10: "DELETE FROM orders_statuschange WHERE source = 1",
    11: """ALTER TABLE idempotency_record DROP CONSTRAINT idempotency_record_once;
           INSERT INTO idempotency_record (identity, scope, key, fingerprint_version,
                  fingerprint_by, fingerprint, method, path, status, content_type,
                  headers, body, request_id, subject)
           SELECT identity, scope, key, 1, '', 'other', method, path, status, content_type, headers,
                  body, '', ''
             FROM idempotency_record""",
    12: "UPDATE orders_order SET amount = amount + 1",
    13: "UPDATE payments_payment SET outcome = 'declined'",
    14: "UPDATE idempotency_record SET status = 202 WHERE path LIKE '%/pay/'",
    15: """INSERT INTO orders_paymentrequest
                  (order_id, body, request_id, key_digest, attempts, last_error, dead_lettered)
           SELECT id, '', '', '', 0, '', false FROM orders_order""",
    16: "UPDATE orders_order SET status = 1, updated_at = now() - interval '1 hour'",
}


@pytest.fixture
def paid(
    as_alice: APIClient, alice: User, alice_account: Account, place: Callable[..., Order]
) -> None:
    order = place(customer=alice)
    as_alice.post(
        f"/api/v1/orders/{order.pk}/pay/",
        {"account": alice_account.pk},
        headers={"Idempotency-Key": "k"},
    )
    pay_order(customer=alice, order_id=order.pk, account_id=alice_account.pk)


def test_a_sound_database_passes(paid: None, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("audit")
    assert "an order id has one payment" in capsys.readouterr().out


@pytest.mark.parametrize("rule", range(len(RULES)), ids=[rule for _, rule, _ in RULES])
def test_the_audit_finds(rule: int, paid: None) -> None:
    assert findings()[RULES[rule][1]] == 0
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")  # past every trigger
        cursor.execute(DAMAGE[rule])
        breaches = findings()
        transaction.set_rollback(True)
    assert breaches[RULES[rule][1]] >= 1


# (rule, what it must not take for a breach), past every trigger.
NOT_DAMAGE: tuple[tuple[int, str], ...] = (
    (3, "UPDATE payments_payment SET created_at = now() - interval '1 hour'"),
    (3, "UPDATE orders_order SET status = 1"),  # just now
    (12, "UPDATE idempotency_record SET status = NULL, body = NULL"),
    (14, "UPDATE orders_order SET status = 1; UPDATE idempotency_record SET status = 202"),
    (
        15,
        """INSERT INTO orders_paymentrequest (order_id, body, request_id, key_digest, attempts,
                  last_error, dead_lettered, settled_at, response)
           SELECT id, '', '', '', 1, '', false, now(),
                  jsonb_build_object('outcome', 'succeeded', 'amount', amount) FROM orders_order""",
    ),
    (
        15,
        """UPDATE orders_order SET status = 1;
           INSERT INTO orders_paymentrequest (order_id, body, request_id, key_digest, attempts,
                  last_error, dead_lettered)
           SELECT id, '', '', '', 1, '', false FROM orders_order""",
    ),
    (16, "UPDATE orders_order SET updated_at = now() - interval '1 hour'"),
    (16, "UPDATE orders_order SET status = 1, updated_at = now()"),
)


@pytest.mark.parametrize(("rule", "change"), NOT_DAMAGE)
def test_the_audit_does_not_find(rule: int, change: str, paid: None) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(change)
        breaches = findings()
        transaction.set_rollback(True)
    assert breaches[RULES[rule][1]] == 0


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM payments_payment WHERE order_id = %s",
        "UPDATE payments_payment SET outcome = 'declined' WHERE order_id = %s",
    ],
)
def test_a_payment_of_another_order_pays_for_none(
    damage: str, paid: None, alice: User, alice_account: Account, place: Callable[..., Order]
) -> None:
    other = place(customer=alice)
    pay_order(customer=alice, order_id=other.pk, account_id=alice_account.pk)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(damage, [other.pk])
        breaches = findings()
        transaction.set_rollback(True)
    assert breaches[RULES[1][1]] == 1


NO_202_LEFT = "no 202 is left once its order is settled"


@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"subject": ""},
        {"subject": "order:another"},
        {"path": "/prefix/api/v1/orders/pay/"},
        {"path": "", "subject": "", "content_type": "application/json; charset=utf-8"},
    ],
    ids=["as stored", "no subject", "another subject", "a prefix", "no path"],
)
def test_a_202_of_a_settled_order_is_found_by_what_it_shows(
    columns: dict[str, str], paid: None, alice: User
) -> None:
    order = Order.objects.get()
    shown = {"id": str(order.pk), "amount": order.amount, "currency": "EUR", "status": 1}
    stored = {"subject": f"order:{order.pk}", "content_type": "application/json"} | columns
    assert findings()[NO_202_LEFT] == 0
    make_record(alice, "provisional", status=202, body=json.dumps(shown).encode(), **stored)
    assert findings()[NO_202_LEFT] == 1


@pytest.mark.parametrize("body", [b'{"id": 7, "amount": "1.50"}', b"[]", b"null", b'"202"'])
def test_a_response_that_shows_no_order_is_none_of_the_audits(
    body: bytes, paid: None, alice: User
) -> None:
    make_record(alice, "other", status=202, body=body, content_type="application/json")
    shown = json.dumps({"id": str(uuid4()), "amount": "1.50", "status": "new"}).encode()
    make_record(alice, "stranger", status=200, body=shown, content_type="application/json")
    make_record(alice, "picture", status=200, body=b"\xff\xfe", content_type="image/png")
    assert not any(findings().values())


def findings() -> dict[str, int]:
    """Run the audit's rules in the transaction at hand, so that the damage can be undone."""
    return {rule: count_breaches(query) for _, rule, query in RULES}


def test_a_breach_is_the_exit_code(paid: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE payments_account DISABLE TRIGGER USER")
        cursor.execute("UPDATE payments_account SET balance = balance + 1 WHERE balance > 0")
        cursor.execute("ALTER TABLE payments_account ENABLE TRIGGER USER")
    with pytest.raises(SystemExit) as exit_code:
        call_command("audit")
    assert exit_code.value.code == 1


def test_the_audit_writes_nothing(paid: None) -> None:
    with read_only():
        assert not any(finding.breaches for finding in check_invariants())


@pytest.mark.parametrize(
    "rule", [rule for rule in RULES if "idempotency_record r," in rule[2]], ids=lambda rule: rule[1]
)
def test_the_audit_parses_a_stored_response_once(rule: tuple[int, str, str], db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN VERBOSE {rule[2]}")
        plan = [line.strip() for (line,) in cursor.fetchall()]
    assert any("CTE Scan on responses" in line for line in plan)
    assert any(line.startswith("->  Result") for line in plan), "it is parsed in a node of its own"
    uses = [line for line in plan if line.startswith(("Filter:", "Join Filter:", "Index Cond:"))]
    assert uses
    assert not any("convert_from" in line for line in uses)
