"""A database as it is after so many orders: written by SQL, past the triggers, and consistent.

`manage.py audit` finds nothing wrong with it, which shows that it is as if it had been ordered.
"""

import time
from typing import Any

import psycopg

DAYS = 28  # that the orders are spread over: less than the retention of a response
ORDERS_OF_A_CUSTOMER = 1000

# Of 100 orders, one is left submitted, one is declined, and the others are paid.
ID = """(lpad(to_hex((extract(epoch FROM {at}) * 1000)::bigint), 12, '0') || '7'
      || substr(md5('{kind}' || n), 1, 3) || '8' || substr(md5('{kind}' || n), 4, 15))::uuid"""
STATUS = "CASE n %% 100 WHEN 0 THEN 0 WHEN 1 THEN 3 ELSE 2 END"
CUSTOMERS = """
WITH made AS (
    INSERT INTO auth_user (username, password, is_superuser, is_staff, is_active, first_name,
                           last_name, email, date_joined)
    SELECT 'history' || n, '!', false, false, true, '', '', '', now()
      FROM generate_series(1, %(customers)s) n RETURNING id)
INSERT INTO payments_account (owner_id, currency, opening_balance, balance)
SELECT id, 'EUR', 1000000000000, 1000000000000 FROM made
"""
HISTORY = f"""
CREATE TEMP TABLE history AS
SELECT n, owner_id, payer.id AS account_id, at, {STATUS} AS status,
       {ID.format(at="at", kind="order")} AS id,
       {ID.format(at="at + interval '1 s'", kind="payment")} AS payment_id,
       payer.balance - %(amount)s * sum(({STATUS} = 2)::int)
           OVER (PARTITION BY payer.id ORDER BY n) AS balance_after
  FROM (SELECT n, now() + (n::float8 / %(orders)s - 1) * interval '{DAYS} days' AS at
          FROM generate_series(1, %(orders)s) n) AS ordered
  JOIN (SELECT *, row_number() OVER (ORDER BY id) - 1 AS number, count(*) OVER () AS payers
          FROM payments_account WHERE owner_id IS NOT NULL) AS payer
    ON payer.number = n %% payers
"""
ORDERS = """
INSERT INTO orders_order (id, customer_id, status, amount, currency, account_id, created_at,
                          updated_at)
SELECT id, owner_id, status, %(amount)s, 'EUR', CASE WHEN status > 0 THEN account_id END, at, at
  FROM history ORDER BY n
"""
LINES = """
INSERT INTO orders_orderline (order_id, product_id, sku, name, quantity, unit_price)
SELECT history.id, product.id, sku, name, %(amount)s / price, price
  FROM history, orders_product product ORDER BY n
"""
CHANGES = """
INSERT INTO orders_statuschange (order_id, source, target, at)
SELECT id, source, target, at + interval '1 s'
  FROM history, LATERAL (VALUES (0, 1), (1, status)) AS change (source, target)
 WHERE status > 0 ORDER BY n, source
"""
PAYMENTS = """
INSERT INTO payments_payment (id, order_id, account_id, amount, currency, outcome, created_at)
SELECT payment_id, id, account_id, %(amount)s, 'EUR',
       CASE status WHEN 2 THEN 'succeeded' ELSE 'declined' END, at + interval '1 s'
  FROM history WHERE status > 0 ORDER BY n
"""
ENTRIES = """
INSERT INTO payments_entry (payment_id, account_id, amount, currency, balance_after, created_at)
SELECT payment_id, leg.account_id, leg.amount, 'EUR', leg.after, at + interval '1 s'
  FROM history, (SELECT id FROM payments_account WHERE owner_id IS NULL) AS settlement,
       LATERAL (VALUES (history.account_id, -%(amount)s, balance_after),
                       (settlement.id, %(amount)s, NULL)) AS leg (account_id, amount, after)
 WHERE status = 2 ORDER BY n
"""
BALANCES = """
UPDATE payments_account SET balance = last.balance
  FROM (SELECT account_id, min(balance_after) AS balance FROM history GROUP BY account_id) AS last
 WHERE payments_account.id = last.account_id
"""
# Two responses for each order that was paid, one for each that was only placed.
RECORDS = """
INSERT INTO idempotency_record (identity, scope, key, fingerprint_version, fingerprint_by,
                                fingerprint, method, path, subject, status, content_type, headers,
                                body, request_id, created_at, retained_until)
SELECT sha256(convert_to(act || n, 'UTF8')), 'user:' || owner_id,
       md5(act || n)::uuid::text, 3, '', encode(sha256(convert_to(act || n, 'UTF8')), 'hex'),
       'POST', CASE act WHEN 'place' THEN '/api/v1/orders/'
                        ELSE '/api/v1/orders/' || history.id || '/pay/' END,
       'order:' || history.id,
       CASE WHEN act = 'place' THEN 201 WHEN history.status = 2 THEN 200 ELSE 402 END,
       CASE WHEN act = 'pay' AND history.status = 3 THEN 'application/problem+json'
            ELSE 'application/json' END, '{}',
       convert_to(CASE WHEN act = 'pay' AND history.status = 3 THEN format(
           '{"type":"/problems/payment-declined","status":402,"order":%%s}', shown) ELSE shown END,
           'UTF8'),
       md5('request' || act || n), at, at + interval '30 days'
  FROM history, LATERAL (VALUES ('place'), ('pay')) AS acted (act),
       LATERAL (SELECT format(
           '{"id":"%%s","status":%%s,"status_label":"%%s","amount":%%s,"currency":"EUR",'
           '"lines":[{"sku":"TEA","name":"Tea","quantity":2,"unit_price":250,"amount":500}],'
           '"payment":%%s,"created_at":"%%s","updated_at":"%%s"}',
           history.id, shown_status, CASE shown_status WHEN 0 THEN 'submitted' WHEN 2 THEN 'paid'
           ELSE 'failed' END, %(amount)s, CASE shown_status WHEN 0 THEN 'null' ELSE format(
               '{"id":"%%s","account_id":%%s,"amount":%%s,"currency":"EUR","outcome":"%%s",'
               '"created_at":"%%s"}', payment_id, account_id, %(amount)s,
               CASE shown_status WHEN 2 THEN 'succeeded' ELSE 'declined' END, at) END, at, at)
           AS shown
         FROM (SELECT CASE act WHEN 'pay' THEN history.status ELSE 0 END AS shown_status) AS _)
 WHERE act = 'place' OR history.status > 0 ORDER BY n
"""
TABLES = {
    "orders": ORDERS,
    "order lines": LINES,
    "status changes": CHANGES,
    "payments": PAYMENTS,
    "entries": ENTRIES,
    "balances": BALANCES,
    "idempotency records": RECORDS,
}


def write(session: psycopg.Connection[Any], *, orders: int, amount: int) -> dict[str, float]:
    """Write so many orders of a shop that has one product and none yet; return each part's seconds.

    :param session: a superuser's, in autocommit: triggers and foreign keys don't fire
    :param amount: of each order, in minor units of EUR; the product's price divides it
    """
    seconds: dict[str, float] = {}
    with session.transaction():
        session.execute("SET LOCAL session_replication_role = replica")
        session.execute("SET LOCAL synchronous_commit = off")
        session.execute("SET LOCAL work_mem = '256MB'")
        found = session.execute("SELECT count(*) FROM payments_account WHERE owner_id IS NOT NULL")
        missing = orders // ORDERS_OF_A_CUSTOMER - (found.fetchone() or [0])[0]
        _execute(session, CUSTOMERS, customers=max(0, missing))
        _execute(session, HISTORY, orders=orders, amount=amount)
        session.execute("ANALYZE history")
        for name, statement in TABLES.items():
            started = time.perf_counter()
            _execute(session, statement, amount=amount)
            seconds[name] = time.perf_counter() - started
        session.execute("DROP TABLE history")
    session.execute("VACUUM ANALYZE")
    return seconds


def _execute(session: psycopg.Connection[Any], statement: str, **values: int) -> None:
    # Server-side binding knows no types of bare numbers: bind them in the client.
    psycopg.ClientCursor(session).execute(statement.encode(), values)
