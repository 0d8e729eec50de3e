"""What a pay costs does not grow with the entries that were written before."""

from uuid import uuid4

import pytest
from django.db import connection

from payments.models import Account
from payments.services import pay
from tests.conftest import OPENING

ENTRIES = 4_000  # as many that a scan of them all would look cheap, if one row in two were wanted
HISTORY = """
SET LOCAL session_replication_role = replica;
INSERT INTO payments_payment (id, order_id, account_id, amount, currency, outcome)
SELECT md5('payment' || n)::uuid, md5('order' || n)::uuid, {account}, 1, 'EUR', 'succeeded'
  FROM generate_series(1, {count}) n;
INSERT INTO payments_entry (payment_id, account_id, amount, currency, balance_after)
SELECT md5('payment' || n)::uuid, leg.account_id, leg.amount, 'EUR', leg.after
  FROM generate_series(1, {count}) n, LATERAL (VALUES
       ({account}, -1, {opening} - n), ({settlement}, 1, NULL)) AS leg (account_id, amount, after)
 ORDER BY n;
UPDATE payments_account SET balance = {opening} - {count} WHERE id = {account};
SET LOCAL session_replication_role = origin;
ANALYZE payments_entry;
"""
ROWS_READ = """
SELECT seq_tup_read FROM pg_stat_xact_user_tables WHERE relname = 'payments_entry'
"""


def rows_read() -> int:
    """Return how many entries this transaction has read without an index."""
    with connection.cursor() as cursor:
        cursor.execute(ROWS_READ)
        return int(cursor.fetchone()[0])


@pytest.mark.django_db
def test_a_pay_reads_no_entry_but_through_an_index(alice_account: Account) -> None:
    settlement = Account.objects.get(owner=None)
    with connection.cursor() as cursor:
        cursor.execute(
            HISTORY.format(
                account=alice_account.pk,
                settlement=settlement.pk,
                opening=OPENING,
                count=ENTRIES,
            )
        )
    before = rows_read()
    for _ in range(8):  # from the sixth on, a session's triggers keep one plan for all values
        pay(order_id=uuid4(), account_id=alice_account.pk, amount=100, currency="EUR")
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # what a commit would check

    assert rows_read() == before
