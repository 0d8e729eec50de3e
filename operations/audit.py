"""The invariants of the whole system, in SQL that shares no code with it, in one snapshot."""

from dataclasses import dataclass

from django.apps import apps
from django.db import DataError, connection, transaction
from django.utils.translation import gettext_noop as _

from web.database.deadlines import LONG_RESPONSE_SECONDS, responding_within

# Of an order that is not settled though its payment is decided; after that it is a breach.
GRACE = "5 minutes"


@dataclass(frozen=True)
class Finding:
    """The number of rows that break one rule of one invariant (numbered as in docs/contract.md)."""

    invariant: int
    rule: str
    breaches: int


# Each stored response is parsed once: without OFFSET 0 and MATERIALIZED, once for each use. A
# response is about an order where it shows one, whatever its path and subject; and where its
# subject is one, it has to show it.
RESPONSES = """
WITH responses AS MATERIALIZED (
    SELECT r.id, r.status, r.subject LIKE 'order:%%' AS is_about_an_order,
           coalesce(parsed.body -> 'order', parsed.body) AS shown
      FROM idempotency_record r,
           LATERAL (SELECT convert_from(r.body, 'UTF8')::jsonb AS body OFFSET 0) AS parsed
     WHERE r.body IS NOT NULL AND (r.subject LIKE 'order:%%' OR r.content_type LIKE '%%json%%')
       AND (r.subject LIKE 'order:%%'
            OR coalesce(parsed.body -> 'order', parsed.body) ->> 'id' ~ '^[0-9a-f-]{36}$'))"""

# (invariant, the rule in words, a query for the rows that break it)
RULES: tuple[tuple[int, str, str], ...] = (
    (
        1,
        _("an order id has one payment"),
        "SELECT order_id FROM payments_payment GROUP BY order_id HAVING count(*) > 1",
    ),
    (
        1,
        _("a paid order has a payment that succeeded"),
        """SELECT id FROM orders_order o WHERE status = 2 AND NOT EXISTS (
               SELECT FROM payments_payment p WHERE p.order_id = o.id AND outcome = 'succeeded')""",
    ),
    (
        1,
        _("a failed order has no payment that succeeded"),
        """SELECT o.id FROM orders_order o JOIN payments_payment p ON p.order_id = o.id
            WHERE o.status = 3 AND p.outcome = 'succeeded'""",
    ),
    (
        1,
        _("an order whose payment is decided gets settled"),
        """SELECT o.id FROM orders_order o JOIN payments_payment p ON p.order_id = o.id
             WHERE o.status IN (0, 1) AND p.created_at < now() - %(grace)s::interval""",
    ),
    (
        2,
        _("a payment is on its order's terms"),
        """SELECT o.id FROM orders_order o JOIN payments_payment p ON p.order_id = o.id
            WHERE p.amount <> o.amount OR p.currency <> o.currency
               OR p.account_id <> o.account_id""",
    ),
    (
        3,
        _("a payment that succeeded moved its amount, in legs that sum to zero"),
        """SELECT p.id FROM payments_payment p LEFT JOIN payments_entry e ON e.payment_id = p.id
            WHERE p.outcome = 'succeeded' GROUP BY p.id
           HAVING count(e.id) <> 2 OR coalesce(sum(e.amount), 0) <> 0
               OR bool_or(e.currency <> p.currency)
               OR coalesce(-sum(e.amount) FILTER (WHERE e.account_id = p.account_id), 0)
                  <> p.amount""",
    ),
    (
        3,
        _("a payment is decided; declined, it moved nothing"),
        """SELECT id FROM payments_payment p WHERE outcome IS NULL
               OR (outcome = 'declined'
                   AND EXISTS (SELECT FROM payments_entry e WHERE e.payment_id = p.id))""",
    ),
    (
        4,
        _("a balance is its opening balance plus its entries, and not negative"),
        """SELECT a.id FROM payments_account a LEFT JOIN payments_entry e ON e.account_id = a.id
            WHERE a.owner_id IS NOT NULL GROUP BY a.id
           HAVING a.balance <> a.opening_balance + coalesce(sum(e.amount), 0) OR a.balance < 0""",
    ),
    (
        4,
        _("the money of each currency is constant"),
        """WITH held AS (
               SELECT currency, sum(balance) AS now, sum(opening_balance) AS opened
                 FROM payments_account GROUP BY currency),
           settled AS (
               SELECT a.currency, sum(e.amount) AS amount FROM payments_entry e
                 JOIN payments_account a ON a.id = e.account_id
                WHERE a.owner_id IS NULL GROUP BY a.currency)
           SELECT currency FROM held LEFT JOIN settled USING (currency)
            WHERE now + coalesce(amount, 0) <> opened""",
    ),
    (
        4,
        _("an order costs what its lines cost"),
        """SELECT o.id FROM orders_order o LEFT JOIN orders_orderline l ON l.order_id = o.id
            GROUP BY o.id HAVING coalesce(sum(l.quantity * l.unit_price), 0) <> o.amount""",
    ),
    (
        5,
        _("an order's history is the path to its status"),
        """SELECT o.id FROM orders_order o LEFT JOIN orders_statuschange c ON c.order_id = o.id
            GROUP BY o.id
           HAVING coalesce(string_agg(c.source || '>' || c.target, ' ' ORDER BY c.id), '')
               <> CASE o.status WHEN 0 THEN '' WHEN 1 THEN '0>1'
                                WHEN 2 THEN '0>1 1>2' WHEN 3 THEN '0>1 1>3' ELSE '?' END""",
    ),
    (
        6,
        _("a key has one response"),
        "SELECT identity FROM idempotency_record GROUP BY identity HAVING count(*) > 1",
    ),
    (
        6,
        _("a stored response is still true of its order"),
        RESPONSES  # noqa: S608 - constants
        + """
           SELECT r.id FROM responses r LEFT JOIN orders_order o ON o.id = (shown ->> 'id')::uuid
            WHERE CASE WHEN o.id IS NULL THEN is_about_an_order
                       ELSE (shown ->> 'amount')::bigint <> o.amount
                            OR shown ->> 'currency' <> o.currency
                            OR ((shown ->> 'status')::int IN (2, 3)
                                AND (shown ->> 'status')::int <> o.status) END""",
    ),
    (
        6,
        _("a stored response is still true of its payment"),
        RESPONSES  # noqa: S608 - constants
        + """
           SELECT r.id FROM responses r
             LEFT JOIN payments_payment p ON p.order_id = (shown ->> 'id')::uuid
            WHERE shown -> 'payment' ->> 'id' <> p.id::text
               OR shown -> 'payment' ->> 'outcome' <> p.outcome""",
    ),
    (
        6,
        _("no 202 is left once its order is settled"),
        RESPONSES  # noqa: S608 - constants
        + """
           SELECT r.id FROM responses r JOIN orders_order o ON o.id = (shown ->> 'id')::uuid
            WHERE r.status = 202 AND o.status IN (2, 3)
            UNION SELECT r.id FROM idempotency_record r
             JOIN orders_order o ON r.subject = 'order:' || o.id
            WHERE r.status = 202 AND o.status IN (2, 3)""",
    ),
    (
        1,
        _("an order settled over the network is settled as the payment system decided"),
        """SELECT o.id FROM orders_order o JOIN orders_paymentrequest r ON r.order_id = o.id
            WHERE (o.status IN (2, 3)) <> (r.settled_at IS NOT NULL)
               OR o.status <> CASE r.response ->> 'outcome' WHEN 'succeeded' THEN 2 ELSE 3 END
                  AND r.response IS NOT NULL
               OR (r.response ->> 'amount')::bigint <> o.amount""",
    ),
    (
        7,
        _("no order stays in paying"),
        "SELECT id FROM orders_order WHERE status = 1 AND updated_at < now() - %(grace)s::interval",
    ),
)


def check_invariants() -> list[Finding]:
    """Check every rule in one read-only snapshot of the database; changes nothing."""
    rules = [rule for rule in RULES if _has_its_tables(rule[2])]
    with transaction.atomic(durable=True), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        cursor.execute("SET LOCAL statement_timeout = 0")
        with responding_within(connection.connection, LONG_RESPONSE_SECONDS):
            return [Finding(number, text, count_breaches(query)) for number, text, query in rules]


def _has_its_tables(query: str) -> bool:
    """Return True if this database has all tables of a rule: each side may have its own."""
    return all(apps.is_installed(app) for app in ("orders", "payments") if f" {app}_" in query)


def count_breaches(query: str) -> int:
    """Return how many rows a rule's query finds."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            counted = f"SELECT count(*) FROM ({query}) AS breach"  # noqa: S608 - RULES only
            cursor.execute(counted, {"grace": GRACE})
            breaches: int = cursor.fetchone()[0]
            return breaches
    except DataError:  # a response that is no JSON of ours is a breach, not the end of the audit
        return 1
