"""What the database itself refuses, whoever asks: every guard, by raw SQL."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction

from idempotency.database_errors import violated_constraint
from orders.models import Order
from orders.services import pay_order
from payments.models import Account
from payments.services import open_account

INSERT_ORDER = """
INSERT INTO orders_order (id, customer_id, status, amount, currency, account_id,
                          created_at, updated_at)
VALUES (gen_random_uuid(), {customer}, {status}, {amount}, 'EUR', {account}, now(), now())
"""
INSERT_PAYMENT = """
INSERT INTO payments_payment (id, order_id, account_id, amount, currency, outcome)
VALUES ('{payment}', {order_id}, {account}, {amount}, '{currency}', {outcome})
"""
INSERT_ENTRY = """
INSERT INTO payments_entry (payment_id, account_id, amount, currency)
VALUES ('{payment}', {account}, {amount}, '{currency}')
"""
INSERT_ACCOUNT = """
INSERT INTO payments_account (owner_id, currency, opening_balance, balance)
VALUES ({owner}, '{currency}', {opening}, {balance})
"""
# As a restore loads rows. A CHECK and a UNIQUE hold all the same.
TRIGGERS_OFF = "SET LOCAL session_replication_role = replica"
SETTLEMENT_IN_FRANCS = (
    "(SELECT id FROM payments_account WHERE owner_id IS NULL AND currency = 'CHF')"
)
INSERT_LATER_ORDER = """
INSERT INTO orders_order (id, customer_id, status, amount, currency, created_at, updated_at)
VALUES ('{{later}}', {{customer}}, 0, {amount}, '{currency}', now(), now());
INSERT INTO orders_orderline (order_id, product_id, sku, name, quantity, unit_price)
SELECT '{{later}}', product_id, sku, name, 1, {amount} FROM orders_orderline LIMIT 1
"""
INSERT_REQUEST = """
INSERT INTO orders_paymentrequest
    (order_id, body, request_id, key_digest, attempts, last_error, dead_lettered)
VALUES ('{submitted}', 'asked', '', '', 0, '', false)
"""
INSERT_RECORD = """
INSERT INTO idempotency_record (
    identity, scope, key, fingerprint_version, fingerprint_by, fingerprint, method, path, status,
    content_type, headers, body, request_id, subject)
VALUES ('identity', 'user:{customer}', '{key}', 1, '', 'f', 'POST', '/', {status}, '', '[]',
        {body}, '', '')
"""


def payment(order_id: str, outcome: str, **changed: object) -> str:
    terms = {"payment": "{new}", "account": "{account}", "amount": 500, "currency": "EUR"}
    return INSERT_PAYMENT.format(order_id=order_id, outcome=outcome, **(terms | changed))


def entry(account: object, amount: int, *, payment: str = "{new}", currency: str = "EUR") -> str:
    return INSERT_ENTRY.format(payment=payment, account=account, amount=amount, currency=currency)


def debit(account: str, amount: int = 500) -> str:
    """Take an amount from a balance, beside its entry: as much as an order costs."""
    return f"UPDATE payments_account SET balance = balance - {amount} WHERE id = {account}"


def settle_later_order(amount: int, currency: str) -> list[str]:
    """Pay an order id, then place and settle an order of that id, on terms of its own."""
    return [
        payment("'{later}'", "'succeeded'"),
        debit("{account}"),
        entry("{account}", -500),
        entry("{settlement}", 500),
        INSERT_LATER_ORDER.format(amount=amount, currency=currency),
        "UPDATE orders_order SET status = 1, account_id = {account} WHERE id = '{later}'",
        "UPDATE orders_order SET status = 2 WHERE id = '{later}'",
    ]


@pytest.fixture
def world(
    alice: User, alice_account: Account, bob_account: Account, place: Callable[..., Order]
) -> dict[str, Any]:
    """A paid order, a submitted one, and the names of everything in them."""
    paid, submitted = place(customer=alice), place(customer=alice)
    pay_order(customer=alice, order_id=paid.pk, account_id=alice_account.pk)
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM payments_payment WHERE order_id = %s", [paid.pk])
        payment = cursor.fetchone()[0]
    return {
        "customer": alice.pk,
        "paid": paid.pk,
        "submitted": submitted.pk,
        "payment": payment,
        "account": alice_account.pk,
        "other_account": bob_account.pk,
        "third_account": open_account(owner=alice, currency="EUR", opening_balance=5_000).pk,
        "settlement": Account.objects.get(owner=None).pk,
        "new": uuid4(),
        "later": uuid4(),
    }


REFUSED: list[tuple[str, list[str]]] = [
    # Invariant 1: one payment for an order; paid means paid.
    (
        "payments_payment_order_id_key",
        [payment("'{paid}'", "'declined'")],
    ),
    (
        "orders_order_settled_as_paid",
        [
            "UPDATE orders_order SET status = 1, account_id = {account} WHERE id = '{submitted}'",
            "UPDATE orders_order SET status = 2 WHERE id = '{submitted}'",
        ],
    ),
    (
        "orders_order_settled_as_paid",
        [
            "UPDATE orders_order SET status = 1, account_id = {account} WHERE id = '{submitted}'",
            payment("'{submitted}'", "'succeeded'"),
            debit("{account}"),
            entry("{account}", -500),
            entry("{settlement}", 500),
            "UPDATE orders_order SET status = 3 WHERE id = '{submitted}'",
        ],
    ),
    (
        "orders_payment_on_order_terms",
        [
            "UPDATE orders_order SET status = 1, account_id = {account} WHERE id = '{submitted}'",
            "UPDATE orders_order SET status = 3 WHERE id = '{submitted}'",
            payment("'{submitted}'", "'succeeded'"),
        ],
    ),
    # Invariant 2: a payment is on its order's terms, and both keep them.
    (
        "orders_payment_on_order_terms",
        [payment("'{submitted}'", "'declined'", amount=499)],
    ),
    (
        "orders_payment_on_order_terms",
        [
            "UPDATE orders_order SET status = 1, account_id = {account} WHERE id = '{submitted}'",
            payment("'{submitted}'", "'declined'", account="{other_account}"),
        ],
    ),
    (
        "orders_payment_on_order_terms",
        [payment("'{submitted}'", "'declined'", account="{other_account}")],
    ),
    # Another account of the same customer's is another account, before and after the payment.
    (
        "orders_payment_on_order_terms",
        [
            "UPDATE orders_order SET status = 1, account_id = {account} WHERE id = '{submitted}'",
            payment("'{submitted}'", "'declined'", account="{third_account}"),
        ],
    ),
    (
        "orders_order_settled_as_paid",
        [
            payment("'{submitted}'", "'succeeded'", account="{third_account}"),
            debit("{third_account}"),
            entry("{third_account}", -500),
            entry("{settlement}", 500),
            "UPDATE orders_order SET status = 1, account_id = {account} WHERE id = '{submitted}'",
            "UPDATE orders_order SET status = 2 WHERE id = '{submitted}'",
        ],
    ),
    (
        "orders_payment_on_order_terms",
        [payment("'{submitted}'", "'declined'", currency="USD")],
    ),
    ("orders_order_settled_as_paid", settle_later_order(499, "EUR")),
    ("orders_order_settled_as_paid", settle_later_order(500, "USD")),
    ("orders_order_terms", ["UPDATE orders_order SET amount = 1 WHERE id = '{paid}'"]),
    ("orders_order_terms", ["UPDATE orders_order SET currency = 'USD' WHERE id = '{paid}'"]),
    (
        "orders_order_account_once",
        ["UPDATE orders_order SET account_id = {other_account} WHERE id = '{paid}'"],
    ),
    ("orders_order_kept", ["DELETE FROM orders_order WHERE id = '{submitted}'"]),
    (
        "payments_payment_decided_once",
        ["UPDATE payments_payment SET amount = 1 WHERE id = '{payment}'"],
    ),
    (
        "payments_payment_decided_once",
        ["UPDATE payments_payment SET outcome = 'declined' WHERE id = '{payment}'"],
    ),
    (
        "payments_payment_decided_once",
        ["UPDATE payments_payment SET outcome = NULL WHERE id = '{payment}'"],
    ),
    ("payments_payment_kept", ["DELETE FROM payments_payment WHERE id = '{payment}'"]),
    # Invariant 3: entries that sum to zero for what succeeded, none for what did not.
    (
        "payments_payment_sums_to_zero",
        [payment("gen_random_uuid()", "'succeeded'")],
    ),
    (
        "payments_payment_sums_to_zero",
        [
            payment("gen_random_uuid()", "'succeeded'"),
            debit("{account}"),
            entry("{account}", -500),
        ],
    ),
    (
        "payments_payment_sums_to_zero",
        [
            debit("{other_account}", 1),
            entry("{other_account}", -1, payment="{payment}"),
        ],
    ),
    # Each leg: its account, its amount, its currency. The first of these lets 100 units vanish.
    (
        "payments_payment_sums_to_zero",
        [
            payment("gen_random_uuid()", "'succeeded'"),
            debit("{account}"),
            entry("{account}", -500),
            entry("{settlement}", 400),
        ],
    ),
    (
        "payments_payment_sums_to_zero",
        [
            payment("gen_random_uuid()", "'succeeded'", amount=600),
            debit("{account}"),
            entry("{account}", -500),
            entry("{settlement}", 600),
        ],
    ),
    (
        "payments_payment_sums_to_zero",
        [
            payment("gen_random_uuid()", "'succeeded'"),
            debit("{third_account}"),
            entry("{third_account}", -500),
            entry("{settlement}", 500),
        ],
    ),
    (
        "payments_payment_sums_to_zero",
        [
            payment("gen_random_uuid()", "'succeeded'"),
            debit("{account}"),
            debit("{third_account}", -500),
            entry("{account}", -500),
            entry("{third_account}", 500),
        ],
    ),
    (
        "payments_payment_sums_to_zero",
        [
            payment("gen_random_uuid()", "'succeeded'"),
            debit("{account}"),
            entry("{account}", -500),
            INSERT_ACCOUNT.format(owner="NULL", currency="CHF", opening="NULL", balance="NULL"),
            entry(SETTLEMENT_IN_FRANCS, 500, currency="CHF"),
        ],
    ),
    (
        "payments_payment_sums_to_zero",
        [
            payment("gen_random_uuid()", "'succeeded'", currency="CHF"),
            debit("{account}"),
            entry("{account}", -500),
            INSERT_ACCOUNT.format(owner="NULL", currency="CHF", opening="NULL", balance="NULL"),
            entry(SETTLEMENT_IN_FRANCS, 500, currency="CHF"),
        ],
    ),
    (
        "payments_payment_declined_is_free",
        [
            payment("gen_random_uuid()", "'declined'"),
            debit("{account}"),
            entry("{account}", -500),
            entry("{settlement}", 500),
        ],
    ),
    (
        "payments_payment_decided",
        [payment("gen_random_uuid()", "NULL")],
    ),
    (
        "payments_payment_known_outcome",
        [payment("gen_random_uuid()", "'maybe'")],
    ),
    (
        "payments_payment_charges_an_account",
        [
            """INSERT INTO payments_payment (id, order_id, amount, currency, outcome)
               VALUES (gen_random_uuid(), gen_random_uuid(), 500, 'EUR', 'succeeded')"""
        ],
    ),
    (
        "payments_payment_positive",
        [payment("gen_random_uuid()", "'declined'", amount=-500)],
    ),
    ("payments_entry_append_only", ["UPDATE payments_entry SET amount = amount * 2"]),
    ("payments_entry_append_only", ["DELETE FROM payments_entry"]),
    (
        "payments_entry_moves_money",
        [TRIGGERS_OFF, entry("{other_account}", 0, payment="{payment}")],
    ),
    ("payments_entry_payment", [debit("{account}"), entry("{account}", -500)]),
    (
        "payments_entry_account",
        [entry(10**9, 1, payment="{payment}")],
    ),
    (
        "payments_entry_account",
        [entry("{other_account}", 1, payment="{payment}", currency="USD")],
    ),
    (
        "payments_entry_one_leg_per_account",
        [debit("{account}"), entry("{account}", -500, payment="{payment}")],
    ),
    (
        "payments_payment_sums_to_zero",
        [
            debit("{other_account}", 100),
            debit("{third_account}", -100),
            entry("{other_account}", -100, payment="{payment}"),
            entry("{third_account}", 100, payment="{payment}"),
        ],
    ),
    (
        "payments_entry_extends_chain",
        [
            "INSERT INTO payments_entry (id, payment_id, account_id, amount, currency)"
            " VALUES (-1, '{payment}', {account}, -1, 'EUR')"
        ],
    ),
    # Invariant 4: balances follow entries and never fall below zero.
    (
        "payments_account_balance",
        [debit("{account}", -1)],
    ),
    (
        "payments_account_never_negative",
        ["UPDATE payments_account SET balance = -1 WHERE id = {account}"],
    ),
    (
        "payments_account_terms",
        ["UPDATE payments_account SET opening_balance = 1 WHERE id = {account}"],
    ),
    (
        "payments_account_terms",
        ["UPDATE payments_account SET currency = 'USD' WHERE id = {other_account}"],
    ),
    ("payments_account_kept", ["DELETE FROM payments_account WHERE id = {other_account}"]),
    (
        "payments_account_opening",
        [INSERT_ACCOUNT.format(owner="{customer}", currency="EUR", opening=1, balance=2)],
    ),
    (
        "payments_account_customer_or_settlement",
        [INSERT_ACCOUNT.format(owner="{customer}", currency="EUR", opening="NULL", balance="NULL")],
    ),
    (
        "payments_account_customer_or_settlement",
        [INSERT_ACCOUNT.format(owner="NULL", currency="CHF", opening=1, balance=1)],
    ),
    (
        "payments_account_one_settlement_per_currency",
        [INSERT_ACCOUNT.format(owner="NULL", currency="EUR", opening="NULL", balance="NULL")],
    ),
    (
        "payments_account_iso_4217",
        [INSERT_ACCOUNT.format(owner="{customer}", currency="eur", opening=1, balance=1)],
    ),
    # Invariant 5: legal transitions, and a history nobody can forge. (More: test_state_machine.)
    (
        "orders_order_born_submitted",
        [INSERT_ORDER.format(customer="{customer}", status=2, amount=5, account="{account}")],
    ),
    ("orders_order_legal_transition", ["UPDATE orders_order SET status = 0 WHERE id = '{paid}'"]),
    (
        "orders_order_account_from_paying_on",
        ["UPDATE orders_order SET status = 1 WHERE id = '{submitted}'"],
    ),
    (
        "orders_statuschange_by_trigger",
        ["INSERT INTO orders_statuschange (order_id, source, target) VALUES ('{submitted}', 0, 1)"],
    ),
    ("orders_statuschange_append_only", ["UPDATE orders_statuschange SET target = 3"]),
    ("orders_statuschange_append_only", ["DELETE FROM orders_statuschange"]),
    # What was ordered.
    (
        "orders_order_positive",
        [INSERT_ORDER.format(customer="{customer}", status=0, amount=0, account="NULL")],
    ),
    (
        "orders_order_amount",
        [INSERT_ORDER.format(customer="{customer}", status=0, amount=5, account="NULL")],
    ),
    (
        "orders_order_amount",
        [
            """INSERT INTO orders_orderline (order_id, product_id, sku, name, quantity, unit_price)
         SELECT order_id, product_id, sku, name, 1, 1 FROM orders_orderline
          WHERE order_id = '{submitted}'"""
        ],
    ),
    (
        "orders_orderline_positive",
        [
            """INSERT INTO orders_orderline (order_id, product_id, sku, name, quantity, unit_price)
         SELECT order_id, product_id, sku, name, -1, 1 FROM orders_orderline"""
        ],
    ),
    ("orders_orderline_kept", ["UPDATE orders_orderline SET quantity = 1"]),
    ("orders_orderline_kept", ["DELETE FROM orders_orderline"]),
    ("orders_product_price", ["UPDATE orders_product SET price = 0"]),
    ("orders_product_iso_4217", ["UPDATE orders_product SET currency = 'eur'"]),
    # The dedup table.
    (
        "idempotency_record_once",
        [INSERT_RECORD.format(customer="{customer}", key="k", status=200, body="'x'")] * 2,
    ),
    (
        "idempotency_record_response_or_tombstone",
        [INSERT_RECORD.format(customer="{customer}", key="k", status=200, body="NULL")],
    ),
    (
        "idempotency_record_response_or_tombstone",
        [INSERT_RECORD.format(customer="{customer}", key="k", status=500, body="'x'")],
    ),
    (
        "idempotency_record_key_not_empty",
        [INSERT_RECORD.format(customer="{customer}", key="", status=200, body="'x'")],
    ),
    (
        "idempotency_record_kept",
        [
            INSERT_RECORD.format(customer="{customer}", key="k", status=200, body="'x'"),
            "DELETE FROM idempotency_record",
        ],
    ),
    (
        "idempotency_record_kept",
        [
            INSERT_RECORD.format(customer="{customer}", key="k", status=200, body="'x'"),
            "UPDATE idempotency_record SET key = 'other'",
        ],
    ),
    (
        "orders_paymentrequest_settled_with_its_response",
        [INSERT_REQUEST, "UPDATE orders_paymentrequest SET settled_at = now()"],
    ),
    (
        "orders_paymentrequest_given_up_with_a_reason",
        [INSERT_REQUEST, "UPDATE orders_paymentrequest SET given_up_by = 'boss'"],
    ),
    (
        "orders_paymentrequest_given_up_with_a_reason",
        [INSERT_REQUEST, "UPDATE orders_paymentrequest SET given_up_reason = 'why not'"],
    ),
    (
        "orders_paymentrequest_unchanged",
        [INSERT_REQUEST, "UPDATE orders_paymentrequest SET body = 'another'"],
    ),
    (
        "orders_paymentrequest_unchanged",
        [
            INSERT_REQUEST,
            "UPDATE orders_paymentrequest SET settled_at = now(), response = '[]'",
            "UPDATE orders_paymentrequest SET settled_at = NULL, response = NULL",
        ],
    ),
    ("orders_paymentrequest_kept", [INSERT_REQUEST, "DELETE FROM orders_paymentrequest"]),
    (
        "idempotency_record_one_response",
        [
            INSERT_RECORD.replace("{key}", "k")
            .replace("{status}", "200")
            .replace("{body}", "'[]'"),
            "UPDATE idempotency_record SET status = 402 WHERE key = 'k'",
        ],
    ),
    (
        "idempotency_record_retained",
        [
            INSERT_RECORD.format(customer="{customer}", key="k", status=200, body="'x'"),
            "UPDATE idempotency_record SET status = NULL, body = NULL",
        ],
    ),
    (
        "idempotency_horizon_is_one",
        ["INSERT INTO idempotency_horizon (id, keys_made_before) VALUES (2, now())"],
    ),
    (
        "idempotency_horizon_kept",
        [
            "INSERT INTO idempotency_horizon (id, keys_made_before) VALUES (1, now())",
            "DELETE FROM idempotency_horizon",
        ],
    ),
    (
        "idempotency_token_lives",
        [
            """INSERT INTO idempotency_token (digest, scope, expires_at)
         VALUES ('d', 'user:{customer}', now() - interval '1 hour')"""
        ],
    ),
]


def run(statements: list[str], world: dict[str, Any]) -> None:
    """Run statements in one transaction and check deferred constraints as its COMMIT would."""
    with transaction.atomic(), connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement.format(**world))
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


@pytest.mark.parametrize(
    ("constraint", "statements"), REFUSED, ids=[f"{n}-{c}" for n, (c, _) in enumerate(REFUSED)]
)
def test_the_database_refuses(
    constraint: str, statements: list[str], world: dict[str, Any]
) -> None:
    with pytest.raises(IntegrityError) as refused:
        run(statements, world)
    assert violated_constraint(refused.value) == constraint


def test_every_guard_of_the_schema_has_a_refusal_above(db: None) -> None:
    """A constraint or trigger that nobody tests is one that nobody misses."""
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT conname FROM pg_constraint
                WHERE conrelid::regclass::text ~ '^(orders|payments|idempotency)_'
                  AND contype = 'c' AND conname !~ '_check$' AND conname !~ 'status_change_'
                UNION SELECT tgname FROM pg_trigger
                WHERE tgrelid::regclass::text ~ '^(orders|payments|idempotency)_'
                  AND NOT tgisinternal"""
        )
        guards = {name for (name,) in cursor.fetchall()}
    tested = {constraint for constraint, _ in REFUSED}
    # Triggers that share a function are tested under the name that the function reports; the
    # rest is tested in test_state_machine.py.
    shared = {
        "orders_order_history",
        "orders_orderline_amount",
        "payments_payment_sum",
        "orders_order_known_status",
        "orders_statuschange_legal_transition",
    }
    assert guards - tested == shared
