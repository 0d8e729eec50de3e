"""Each term of a guard of the database refuses something that no other term of it does."""

from typing import Any

import pytest
from django.db import IntegrityError, connection

from idempotency.database_errors import violated_constraint
from tests.database.test_guards import (
    INSERT_ACCOUNT,
    INSERT_ORDER,
    INSERT_RECORD,
    INSERT_REQUEST,
    TRIGGERS_OFF,
    debit,
    entry,
    payment,
    run,
    world,
)

__all__ = ["world"]  # a fixture

TRIGGERS_ON = "SET LOCAL session_replication_role = origin"

# What the test has prepared is committed, as far as checks at the commit are concerned: without
# this, a check that is due for the rows it prepared would refuse what another one has to.
COMMITTED = "SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED"

BEGIN_PAYING = "UPDATE orders_order SET status = 1, account_id = {account} WHERE id = '{submitted}'"
STATUS = "UPDATE orders_order SET status = {status} WHERE id = '{order}'"
COMPLETE = "UPDATE orders_order SET status = 2 WHERE id = '{submitted}'"
UNDECIDED = payment("gen_random_uuid()", "NULL")
SUCCEEDED = payment("gen_random_uuid()", "'succeeded'")
RECORD = INSERT_RECORD.replace("{key}", "k").replace("{status}", "200").replace("{body}", "'[]'")
INSERT_LINE = """
INSERT INTO orders_orderline (order_id, product_id, sku, name, quantity, unit_price)
SELECT order_id, product_id, sku, name, {quantity}, {unit_price} FROM orders_orderline LIMIT 1
"""
INSERT_CHANGE = "INSERT INTO orders_statuschange (order_id, source, target)"
INSERT_USD = """
INSERT INTO payments_account (id, owner_id, currency, opening_balance, balance)
VALUES (-7, {owner}, 'USD', {money}, {money})
"""


def record(status: object, body: str, key: str = "k") -> str:
    return INSERT_RECORD.format(customer="{customer}", key=key, status=status, body=body)


def line(quantity: int, unit_price: int) -> str:
    return INSERT_LINE.format(quantity=quantity, unit_price=unit_price)


def change(source: int, target: int) -> list[str]:
    return [TRIGGERS_OFF, INSERT_CHANGE + f" VALUES ('{{submitted}}', {source}, {target})"]


def account(owner: str, opening: object, balance: object) -> str:
    return INSERT_ACCOUNT.format(owner=owner, currency="CHF", opening=opening, balance=balance)


def usd(owner: str, money: object) -> str:
    return INSERT_USD.format(owner=owner, money=money)


REFUSED: list[tuple[str, str, list[str]]] = [
    *(
        (
            "orders_order_terms",
            column,
            [f"UPDATE orders_order SET {column} = {value} WHERE id = '{{submitted}}'"],
        )
        for column, value in {
            "id": "gen_random_uuid()",
            "customer_id": "(SELECT id FROM auth_user WHERE id <> {customer} LIMIT 1)",
            "created_at": "created_at - interval '1 day'",
        }.items()
    ),
    ("orders_order_legal_transition", "2 to 1", [STATUS.format(order="{paid}", status=1)]),
    (
        "orders_order_legal_transition",
        "0 to 2",
        ["UPDATE orders_order SET status = 2, account_id = {account} WHERE id = '{submitted}'"],
    ),
    (
        "orders_order_legal_transition",
        "0 to 3",
        ["UPDATE orders_order SET status = 3, account_id = {account} WHERE id = '{submitted}'"],
    ),
    ("orders_order_legal_transition", "2 to 3", [STATUS.format(order="{paid}", status=3)]),
    (
        "orders_order_legal_transition",
        "1 to 0",
        [BEGIN_PAYING, STATUS.format(order="{submitted}", status=0)],
    ),
    (
        "orders_paymentrequest_unchanged",
        "order_id",
        [INSERT_REQUEST, "UPDATE orders_paymentrequest SET order_id = '{paid}'"],
    ),
    *(
        (
            "payments_account_terms",
            column,
            [f"UPDATE payments_account SET {column} = {value} WHERE id = {{other_account}}"],
        )
        for column, value in {"id": "-1", "owner_id": "{customer}"}.items()
    ),
    *(
        (
            "payments_payment_decided_once",
            column,
            [UNDECIDED, f"UPDATE payments_payment SET {column} = {value} WHERE id = '{{new}}'"],
        )
        for column, value in {
            "id": "gen_random_uuid()",
            "order_id": "gen_random_uuid()",
            "account_id": "{other_account}",
            "amount": "amount + 1",
            "currency": "'USD'",
            "created_at": "created_at - interval '1 day'",
        }.items()
    ),
    *(
        (
            "idempotency_record_kept",
            column,
            [RECORD, f"UPDATE idempotency_record SET {column} = {value} WHERE key = 'k'"],
        )
        for column, value in {
            "identity": "'another'",
            "fingerprint_version": "2",
            "fingerprint_by": "'another'",
            "key_made_at": "now()",
            "created_at": "created_at - interval '1 day'",
            "scope": "'another'",
            "key": "'another'",
            "method": "'PUT'",
            "path": "'/another/'",
            "subject": "'another'",
        }.items()
    ),
    (
        "idempotency_record_one_response",
        "body",
        [RECORD, "UPDATE idempotency_record SET body = 'another' WHERE key = 'k'"],
    ),
    (
        "idempotency_record_kept",
        "a response of a key that claims a time",
        [
            RECORD.replace("identity,", "key_made_at, identity,").replace(
                "'identity'", "now(), 'identity'"
            ),
            "DELETE FROM idempotency_record",
        ],
    ),
    (
        "idempotency_record_kept",
        "a tombstone of a key that claims none",
        [record("NULL", "NULL"), "DELETE FROM idempotency_record"],
    ),
    ("idempotency_record_response_or_tombstone", "199", [record(199, "'x'")]),
    (
        "idempotency_horizon_is_one",
        "a second",
        ["INSERT INTO idempotency_horizon VALUES (2, now())"],
    ),
    (
        "web_apitoken_is_a_digest",
        "a token itself",
        ["INSERT INTO web_apitoken (user_id, digest, name) SELECT min(id), 'x', '' FROM auth_user"],
    ),
    (
        "web_apitoken_lives",
        "expired when made",
        [
            "INSERT INTO web_apitoken (user_id, digest, name, expires_at)"
            " SELECT min(id), repeat('a', 64), '', now() FROM auth_user"
        ],
    ),
    ("idempotency_record_response_or_tombstone", "no status", [record("NULL", "'x'")]),
    (
        "idempotency_record_fingerprint_version_check",
        "below zero",
        [record(200, "'x'").replace(" 1, ''", " -1, ''")],
    ),
    (
        "idempotency_ratecount_count_check",
        "below zero",
        ["INSERT INTO idempotency_ratecount (subject, ends_at, count) VALUES ('s', now(), -1)"],
    ),
    (
        "orders_order_account_from_paying_on",
        "an account too early",
        [INSERT_ORDER.format(customer="{customer}", status=0, amount=5, account="{account}")],
    ),
    (
        "orders_order_known_status",
        "4",
        [TRIGGERS_OFF, "UPDATE orders_order SET status = 4 WHERE id = '{paid}'"],
    ),
    *(
        ("orders_statuschange_legal_transition", f"{source} to {target}", change(source, target))
        for source, target in [(2, 1), (0, 2), (2, 3), (1, 1)]
    ),
    (
        "orders_statuschange_once",
        "the same transition twice",
        [TRIGGERS_OFF, INSERT_CHANGE + " VALUES ('{paid}', 0, 1)"],
    ),
    ("orders_orderline_positive", "no quantity", [line(0, 1)]),
    ("orders_orderline_positive", "no price", [line(1, 0)]),
    (
        "orders_paymentrequest_settled_with_its_response",
        "a response too early",
        [INSERT_REQUEST, "UPDATE orders_paymentrequest SET response = '[]'"],
    ),
    (
        "orders_paymentrequest_settled_with_its_response",
        "dead-lettered all the same",
        [
            INSERT_REQUEST,
            """UPDATE orders_paymentrequest
                  SET response = '[]', settled_at = now(), dead_lettered = true""",
        ],
    ),
    (
        "orders_paymentrequest_attempts_check",
        "below zero",
        [INSERT_REQUEST, "UPDATE orders_paymentrequest SET attempts = -1"],
    ),
    ("orders_product_price", "too much", ["UPDATE orders_product SET price = 1000000000001"]),
    (
        "orders_product_sku_key",
        "twice",
        [
            """INSERT INTO orders_product (sku, name, price, currency)
               SELECT sku, name, price, currency FROM orders_product"""
        ],
    ),
    (
        "shop_basket_order_id_key",
        "one order of two baskets",
        [
            """INSERT INTO shop_basket (id, customer_id, lines, order_id)
               SELECT gen_random_uuid(), {customer}, '{{}}', '{submitted}'
                 FROM generate_series(1, 2)"""
        ],
    ),
    (
        "payments_account_customer_or_settlement",
        "a balance of settlement",
        ["UPDATE payments_account SET balance = 0 WHERE id = {settlement}"],
    ),
    (
        "payments_account_customer_or_settlement",
        "an opening balance of settlement",
        [TRIGGERS_OFF, account("NULL", 1, "NULL")],
    ),
    (
        "payments_account_customer_or_settlement",
        "no balance of a customer",
        ["UPDATE payments_account SET balance = NULL WHERE id = {account}"],
    ),
    (
        "payments_account_customer_or_settlement",
        "an opening balance below zero",
        [TRIGGERS_OFF, account("{customer}", -1, 0)],
    ),
    (
        "orders_order_settled_as_paid",
        "by a payment that was declined",
        [BEGIN_PAYING, payment("'{submitted}'", "'declined'"), COMPLETE],
    ),
    *(
        (
            "orders_order_settled_as_paid",
            f"by a payment of another {term}",
            [
                TRIGGERS_OFF,
                payment("'{submitted}'", "'succeeded'", **{term: value}),
                TRIGGERS_ON,
                BEGIN_PAYING,
                COMPLETE,
            ],
        )
        for term, value in {"amount": 499, "currency": "USD"}.items()
    ),
    (
        "orders_payment_on_order_terms",
        "another currency",
        [payment("'{submitted}'", "'declined'", currency="USD")],
    ),
    (
        "orders_payment_on_order_terms",
        "another account of the customer's",
        [BEGIN_PAYING, payment("'{submitted}'", "'declined'", account="{third_account}")],
    ),
    ("orders_order_amount", "a line more, later", [COMMITTED, line(1, 1)]),
    ("payments_account_balance", "without an entry", [COMMITTED, debit("{account}", 1)]),
    (
        "payments_account_balance",
        "entries alone",
        [COMMITTED, SUCCEEDED, entry("{account}", -500), entry("{settlement}", 500)],
    ),
    (
        "payments_payment_sums_to_zero",
        "an entry more, later",
        [COMMITTED, debit("{other_account}", 1), entry("{other_account}", -1, payment="{payment}")],
    ),
    (
        "payments_payment_declined_is_free",
        "entries, later",
        [
            payment("gen_random_uuid()", "'declined'"),
            COMMITTED,
            debit("{account}", 500),
            entry("{account}", -500),
        ],
    ),
    (
        "payments_payment_declined_is_free",
        "entries, before it was",
        [
            UNDECIDED,
            debit("{account}", 500),
            entry("{account}", -500),
            entry("{settlement}", 500),
            "UPDATE payments_payment SET outcome = 'declined' WHERE id = '{new}'",
        ],
    ),
    (
        "payments_payment_sums_to_zero",
        "less than its amount taken",
        [SUCCEEDED, debit("{account}", 400), entry("{account}", -400), entry("{settlement}", 500)],
    ),
    (
        "payments_payment_sums_to_zero",
        "less than its amount given",
        [SUCCEEDED, debit("{account}", 500), entry("{account}", -500), entry("{settlement}", 400)],
    ),
    (
        "payments_payment_sums_to_zero",
        "given, and not taken",
        [SUCCEEDED, entry("{settlement}", 500)],
    ),
    (
        "payments_payment_sums_to_zero",
        "taken from another account",
        [
            SUCCEEDED,
            debit("{other_account}", 500),
            entry("{other_account}", -500),
            entry("{settlement}", 500),
        ],
    ),
    (
        "payments_payment_sums_to_zero",
        "given to a customer",
        [
            SUCCEEDED,
            debit("{account}", 500),
            debit("{other_account}", -500),
            entry("{account}", -500),
            entry("{other_account}", 500),
        ],
    ),
    (
        "payments_payment_sums_to_zero",
        "taken in another currency",
        [
            usd("NULL", "NULL"),
            payment("gen_random_uuid()", "'succeeded'", currency="USD"),
            debit("{account}", 500),
            entry("{account}", -500),
            entry(-7, 500, currency="USD"),
        ],
    ),
    (
        "payments_payment_sums_to_zero",
        "given in another currency",
        [
            usd("{customer}", 900),
            payment("gen_random_uuid()", "'succeeded'", account="-7", currency="USD"),
            debit("-7", 500),
            entry(-7, -500, currency="USD"),
            entry("{settlement}", 500),
        ],
    ),
]


@pytest.mark.parametrize(
    ("constraint", "statements"),
    [(constraint, statements) for constraint, _, statements in REFUSED],
    ids=[f"{constraint}: {what}" for constraint, what, _ in REFUSED],
)
def test_each_term_of_a_guard_refuses_something(
    constraint: str, statements: list[str], world: dict[str, Any]
) -> None:
    with pytest.raises(IntegrityError) as refused:
        run(statements, world)
    assert violated_constraint(refused.value) == constraint


def test_a_tombstone_of_a_key_that_is_refused_by_its_time_can_be_deleted(
    world: dict[str, Any],
) -> None:
    """What the refusals above allow: every server refuses such a key, whatever its settings."""
    tombstone = record("NULL", "NULL").replace("identity,", "key_made_at, identity,")
    statements = [
        tombstone.replace("'identity'", "now() - interval '1 day', 'identity'"),
        "INSERT INTO idempotency_horizon VALUES (1, now())",
        "DELETE FROM idempotency_record",
    ]
    run(statements, world)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM idempotency_record")
        assert cursor.fetchone() == (0,)
