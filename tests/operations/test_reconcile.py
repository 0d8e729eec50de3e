"""Reconciliation finds where orders and payments disagree, though each is read at its own time."""

import json
import os
import subprocess
import sys
import traceback
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import psycopg
import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from operations.reconciliation import comparison
from operations.reconciliation.comparison import reconcile
from operations.reconciliation.report import LISTED_MAX, DifferenceKind, ReconciliationReport
from operations.reconciliation.rows import ORDERS, PAYMENTS, OrderRow, PaymentRow
from operations.reconciliation.sides import (
    ROWS_AT_A_TIME,
    Side,
    SideUnreadable,
    connected,
    find_side,
    snapshot,
)
from orders import models as orders_app
from orders.services import pay_order
from payments.models import Account
from tests.support.live import another_database, database_url

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).resolve().parents[2]
SUBMITTED, PAYING, PAID, FAILED = range(4)
OLD, YOUNG = 3600, 5
GRACE = timedelta(seconds=60)
SECRET = "s3cret"
SETTINGS = (
    *("transaction_isolation", "transaction_read_only"),
    *("statement_timeout", "idle_in_transaction_session_timeout"),
)


class PlantedRow(NamedTuple):
    """A row of either side: the order's status or the payment's outcome, its terms, its age."""

    state: Any
    amount: int = 500
    currency: str = "EUR"
    account: int | None = 7
    age: int = OLD


CHARGED, DECLINED = PlantedRow("succeeded"), PlantedRow("declined")
NEW = PlantedRow(SUBMITTED, account=None)

# By name: an order, its payment, and all that must be found.
DISAGREEMENTS: dict[str, tuple[PlantedRow | None, PlantedRow | None, set[DifferenceKind]]] = {
    "paid, no payment": (PlantedRow(PAID), None, {DifferenceKind.UNPAID}),
    "paid, payment declined": (PlantedRow(PAID), DECLINED, {DifferenceKind.UNPAID}),
    "paid, payment undecided": (PlantedRow(PAID), PlantedRow(None), {DifferenceKind.UNPAID}),
    "no order, charged": (None, CHARGED, {DifferenceKind.UNSETTLED}),
    "submitted, charged": (NEW, CHARGED, {DifferenceKind.UNSETTLED}),
    "failed, charged": (PlantedRow(FAILED), CHARGED, {DifferenceKind.UNSETTLED}),
    "paying, charged": (
        PlantedRow(PAYING),
        CHARGED,
        {DifferenceKind.UNSETTLED, DifferenceKind.PAYING},
    ),
    "paying, no payment": (PlantedRow(PAYING), None, {DifferenceKind.PAYING}),
    "paying, declined": (PlantedRow(PAYING), DECLINED, {DifferenceKind.PAYING}),
    "another amount": (
        PlantedRow(PAID),
        PlantedRow("succeeded", amount=501),
        {DifferenceKind.TERMS},
    ),
    "another currency": (
        PlantedRow(PAID),
        PlantedRow("succeeded", currency="USD"),
        {DifferenceKind.TERMS},
    ),
    "another account": (
        PlantedRow(PAID),
        PlantedRow("succeeded", account=8),
        {DifferenceKind.TERMS},
    ),
    "declined, another amount": (
        PlantedRow(FAILED),
        PlantedRow("declined", amount=1),
        {DifferenceKind.TERMS},
    ),
    "given up, another amount": (
        PlantedRow(FAILED),
        PlantedRow("declined", amount=1, account=None),
        {DifferenceKind.TERMS},
    ),
}
AGREEMENTS: dict[str, tuple[PlantedRow | None, PlantedRow | None]] = {
    "submitted": (NEW, None),
    "submitted, declined": (NEW, DECLINED),
    "paid": (PlantedRow(PAID), CHARGED),
    "failed": (PlantedRow(FAILED), DECLINED),
    "given up": (PlantedRow(FAILED), PlantedRow("declined", account=None)),
    "failed before it was requested": (PlantedRow(FAILED), None),
    "another system's, declined": (None, DECLINED),
}

INSERT_ORDER = """
    INSERT INTO orders_order
           (id, customer_id, status, amount, currency, account_id, created_at, updated_at)
    VALUES (%s, %s, %s, %s, %s, %s, now(), now() - make_interval(secs => %s))"""
INSERT_PAYMENT = """
    INSERT INTO payments_payment (id, order_id, outcome, amount, currency, account_id, created_at)
    VALUES (gen_random_uuid(), %s, %s, %s, %s, %s, now() - make_interval(secs => %s))"""
# Paid orders and payments of the same ids, with amounts that differ by so much.
INSERT_ORDERS = """
    INSERT INTO orders_order
           (id, customer_id, status, amount, currency, account_id, created_at, updated_at)
    SELECT md5(n::text)::uuid, %s, 2, 500, 'EUR', 7, now(), now() - interval '1 hour'
      FROM generate_series(1, %s) AS n"""
INSERT_PAYMENTS = """
    INSERT INTO payments_payment (id, order_id, outcome, amount, currency, account_id, created_at)
    SELECT md5(n::text)::uuid, md5(n::text)::uuid, 'succeeded', 500 + %s, 'EUR', 7,
           now() - interval '1 hour'
      FROM generate_series(1, %s) AS n"""


def force(*statements: tuple[str, list[Any]]) -> None:
    """Commit statements past every trigger."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        for statement, values in statements:
            cursor.execute(statement, values)


@pytest.fixture
def put(alice: User) -> Callable[..., UUID]:
    """Write both sides of an order id, or one of them."""

    def put(order: PlantedRow | None, payment: PlantedRow | None) -> UUID:
        order_id = uuid4()
        if order:
            force((INSERT_ORDER, [order_id, alice.pk, *order]))
        if payment:
            force((INSERT_PAYMENT, [order_id, *payment]))
        return order_id

    return put


def sides() -> tuple[Side, Side]:
    return find_side(name="orders", url=None), find_side(name="payments", url=None)


def reconciled(grace: timedelta = GRACE) -> ReconciliationReport:
    orders, payments = sides()
    return reconcile(orders=orders, payments=payments, grace=grace)


def old(report: ReconciliationReport) -> dict[DifferenceKind, list[UUID]]:
    return {
        kind: [difference.order_id for difference in of_kind.old.first]
        for kind, of_kind in report.kinds.items()
        if of_kind.old.count
    }


def in_flight(report: ReconciliationReport) -> dict[DifferenceKind, list[UUID]]:
    return {
        kind: [difference.order_id for difference in of_kind.in_flight.first]
        for kind, of_kind in report.kinds.items()
        if of_kind.in_flight.count
    }


def url() -> str:
    return database_url(connection.get_connection_params())


def test_a_consistent_shop_is_clean(
    alice: User, alice_account: Account, place: Callable[..., orders_app.Order]
) -> None:
    for quantity in (1, 1_000):  # the second one costs more than there is
        order = place(customer=alice, quantity=quantity)
        pay_order(customer=alice, order_id=order.pk, account_id=alice_account.pk)
    place(customer=alice)
    report = reconciled(timedelta(0))
    assert (report.orders, report.payments) == (3, 2)
    assert (old(report), in_flight(report)) == ({}, {})


def test_an_empty_shop_is_clean() -> None:
    report = reconciled()
    assert (report.orders, report.payments, report.differences) == (0, 0, 0)


@pytest.mark.parametrize("case", DISAGREEMENTS)
def test_a_disagreement_is_found_alone_among_agreements(
    case: str, put: Callable[..., UUID]
) -> None:
    order, payment, expected = DISAGREEMENTS[case]
    for agreed in AGREEMENTS.values():
        put(*agreed)
    order_id = put(order, payment)
    for agreed in AGREEMENTS.values():
        put(*agreed)
    report = reconciled()
    assert old(report) == {kind: [order_id] for kind in expected}
    assert in_flight(report) == {}


@pytest.mark.parametrize("case", DISAGREEMENTS)
def test_younger_than_the_grace_it_is_in_flight(case: str, put: Callable[..., UUID]) -> None:
    order, payment, expected = DISAGREEMENTS[case]
    order_id = put(order and order._replace(age=YOUNG), payment and payment._replace(age=YOUNG))
    report = reconciled()
    assert old(report) == {}
    assert in_flight(report) == {kind: [order_id] for kind in expected}
    assert report.differences == 0


def test_a_difference_has_both_sides_and_the_time_of_the_younger(put: Callable[..., UUID]) -> None:
    order_id = put(
        PlantedRow(FAILED, age=200), PlantedRow("succeeded", amount=9, currency="USD", age=100)
    )
    before = datetime.now(UTC)
    [difference] = reconciled().kinds[DifferenceKind.UNSETTLED].old.first
    order, payment = difference.order, difference.payment
    assert order is not None
    assert payment is not None
    assert order[:5] == (order_id, FAILED, 500, "EUR", 7)
    assert payment[:5] == (order_id, "succeeded", 9, "USD", 7)
    assert difference.since == payment.created_at  # the younger of the two
    assert abs(before - timedelta(seconds=100) - difference.since) < timedelta(seconds=10)
    assert timedelta(seconds=100) <= difference.age < timedelta(seconds=110)


def test_an_old_payment_of_an_order_that_has_just_begun_to_pay_is_in_flight(
    put: Callable[..., UUID],
) -> None:
    order_id = put(PlantedRow(PAYING, age=YOUNG), CHARGED)
    report = reconciled()
    assert old(report) == {}
    assert in_flight(report) == {
        DifferenceKind.UNSETTLED: [order_id],
        DifferenceKind.PAYING: [order_id],
    }


def test_an_order_is_paying_since_it_began_whenever_its_payment_was_made(
    put: Callable[..., UUID],
) -> None:
    order_id = put(PlantedRow(PAYING), PlantedRow("declined", age=YOUNG))
    assert old(reconciled()) == {DifferenceKind.PAYING: [order_id]}


def test_a_second_payment_of_an_order_is_a_difference(put: Callable[..., UUID]) -> None:
    order_id = put(PlantedRow(PAID), CHARGED)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE payments_payment DROP CONSTRAINT payments_payment_order_id_key")
    try:
        force((INSERT_PAYMENT, [order_id, *CHARGED]))
        assert old(reconciled()) == {DifferenceKind.UNSETTLED: [order_id]}
    finally:
        force(("DELETE FROM payments_payment", []))
        with connection.cursor() as cursor:
            cursor.execute(
                "ALTER TABLE payments_payment "
                "ADD CONSTRAINT payments_payment_order_id_key UNIQUE (order_id)"
            )


def test_orders_paid_between_the_two_snapshots_are_in_flight_even_without_a_grace(
    alice: User,
    alice_account: Account,
    place: Callable[..., orders_app.Order],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = place(customer=alice)
    read: list[str] = []
    paid: list[UUID] = []

    def paying_between(side: Any, query: Any, row: Any) -> Any:
        if read:
            for order in (known, place(customer=alice)):
                pay_order(customer=alice, order_id=order.pk, account_id=alice_account.pk)
                paid.append(order.pk)
        read.append(side.name)
        return snapshot(side, query, row)

    monkeypatch.setattr(comparison, "snapshot", paying_between)
    report = reconciled(timedelta(0))
    assert read == ["orders", "payments"]
    assert (report.orders, report.payments) == (1, 2)
    assert old(report) == {}
    assert in_flight(report) == {DifferenceKind.UNSETTLED: sorted(paid)}
    monkeypatch.undo()
    assert (old(reconciled()), in_flight(reconciled())) == ({}, {})


def test_a_side_is_read_in_one_read_only_snapshot_without_timeouts(
    put: Callable[..., UUID],
) -> None:
    put(PlantedRow(PAID), CHARGED)
    orders, _ = sides()
    with connected(orders) as side, snapshot(side, ORDERS, OrderRow) as rows:
        put(PlantedRow(PAID), CHARGED)
        shown = [side.connection.execute(f"SHOW {name}").fetchone() for name in SETTINGS]
        assert len(list(rows)) == 1
    assert shown == [("repeatable read",), ("on",), ("0",), ("0",)]


def test_uuids_sort_in_python_as_they_do_in_postgresql() -> None:
    ids = [uuid4() for _ in range(2_000)] + [UUID(int=n) for n in (0, 1, 2**127, 2**128 - 1)]
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM unnest(%s::uuid[]) AS id ORDER BY id", [ids])
        assert [row[0] for row in cursor.fetchall()] == sorted(ids)


def test_tens_of_thousands_of_rows_are_compared_in_bounded_memory(alice: User) -> None:
    rows = 30_000
    force((INSERT_ORDERS, [alice.pk, rows]), (INSERT_PAYMENTS, [1, rows]))
    sides()  # what is loaded only once doesn't count
    tracemalloc.start()
    try:
        report = reconciled()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (report.orders, report.payments) == (rows, rows)
    terms = report.kinds[DifferenceKind.TERMS]
    assert (terms.old.count, len(terms.old.first)) == (rows, LISTED_MAX)
    held = 2 * ROWS_AT_A_TIME + 2 * LISTED_MAX
    assert peak < 1_000 * held, f"{peak:,} bytes: more than {held:,} rows"
    assert held < rows / 4


def test_a_server_that_goes_away_meanwhile_is_reported_by_its_side(alice: User) -> None:
    force((INSERT_PAYMENTS, [0, 2 * ROWS_AT_A_TIME]))
    _, payments = sides()
    with connected(payments) as side, snapshot(side, PAYMENTS, PaymentRow) as rows:
        next(rows)
        with connection.cursor() as cursor:
            pid = side.connection.info.backend_pid
            cursor.execute("SELECT pg_terminate_backend(%s, 10000)", [pid])
        with pytest.raises(SideUnreadable, match=r"^Can't read the payments: "):
            list(rows)


# --- Two databases


@pytest.fixture
def apart() -> Iterator[str]:
    """The URL of a second database, which has the tables of payments, empty, and no others."""
    with connection.cursor() as cursor:
        tables = [columns(cursor, f"payments_{table}") for table in ("account", "entry", "payment")]
    with another_database("payments") as address:
        with psycopg.connect(address) as there:
            for table in tables:
                there.execute(table.encode())
        yield address


def columns(cursor: Any, table: str) -> str:
    """Return what makes a table with the same columns in another database."""
    cursor.execute(
        """SELECT string_agg(quote_ident(attname) || ' ' || format_type(atttypid, atttypmod), ', ')
             FROM pg_attribute
            WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped""",
        [table],
    )
    return f"CREATE TABLE {table} ({cursor.fetchone()[0]})"


def move_payments(there: str) -> None:
    """Move all payments to another database: here none is left."""
    columns_moved = "id, order_id, account_id, amount, currency, outcome, created_at"
    with connection.cursor() as cursor, psycopg.connect(there) as target:
        cursor.execute(f"SELECT {columns_moved} FROM payments_payment")
        target.cursor().executemany(
            f"INSERT INTO payments_payment ({columns_moved}) VALUES (%s, %s, %s, %s, %s, %s, %s)",
            cursor.fetchall(),
        )
    force(("DELETE FROM payments_payment", []))


def test_two_separate_databases_are_compared(
    apart: str, put: Callable[..., UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    agreed = put(PlantedRow(PAID), CHARGED)
    unknown = put(None, CHARGED)
    unpaid = put(PlantedRow(PAID), None)
    put(PlantedRow(FAILED), DECLINED)
    move_payments(apart)
    expected = {DifferenceKind.UNPAID: [unpaid], DifferenceKind.UNSETTLED: [unknown]}
    orders, _ = sides()
    payments = find_side(name="payments", url=apart)
    assert old(reconcile(orders=orders, payments=payments, grace=GRACE)) == expected
    assert old(reconciled()) == {DifferenceKind.UNPAID: sorted([agreed, unpaid])}
    monkeypatch.setenv("PAYMENTS_DATABASE_URL", apart)
    assert old(reconciled()) == expected


def test_a_side_without_its_tables_is_unreadable(apart: str) -> None:
    with pytest.raises(CommandError) as error:
        call_command("reconcile", orders=apart)
    assert str(error.value) == ('Can\'t read the orders: relation "orders_order" does not exist')
    assert error.value.returncode == 2


# --- The command


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "manage.py", "reconcile", *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "DEBUG": "true", "DATABASE_URL": url()} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_exit_code_is_1_on_an_old_difference_and_0_without(put: Callable[..., UUID]) -> None:
    put(PlantedRow(PAID), CHARGED)
    young = put(None, PlantedRow("succeeded", age=YOUNG))
    ran = run()
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "1 orders and 2 payments compared; differences older than 60 s: 0." in ran.stdout
    assert "in flight" in ran.stdout.split(str(young))[1].splitlines()[0]
    ran = run("--grace", "1")
    assert (ran.returncode, ran.stderr) == (1, "")
    assert "succeeded, 500 EUR, account 7" in ran.stdout.split(str(young))[1].splitlines()[0]


def test_a_database_that_is_down_gives_one_line_and_exit_code_2() -> None:
    for environment in ({"ORDERS_DATABASE_URL": down()}, {"DATABASE_URL": down()}):
        ran = run(**environment)
        assert (ran.returncode, ran.stdout) == (2, "")
        assert ran.stderr.startswith("CommandError: Can't read the orders: ")
        assert "refused" in ran.stderr
        assert ran.stderr.count("\n") == 1
        assert SECRET not in ran.stderr


def down() -> str:
    return f"postgres://nobody:{SECRET}@127.0.0.1:1/none"


def test_with_both_urls_the_settings_database_is_not_read(put: Callable[..., UUID]) -> None:
    put(PlantedRow(PAID), CHARGED)
    ran = run("--orders", url(), "--payments", url(), DATABASE_URL=down())
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize(
    "address",
    [
        down(),
        f"postgres://nobody:{SECRET}@127.0.0.1:1/none?sslmode=nonsense",
        f"postgres://nobody:a@{SECRET}@127.0.0.1/none",
        f"postgres://nobody:{SECRET}/x@127.0.0.1/none",
        f"postgres://nobody:1/{SECRET}@127.0.0.1/none",
        f"postgres://nobody:x@1/{SECRET}@127.0.0.1/none",
        f"postgres://nobody:a@127.0.0.1:{SECRET}@127.0.0.1/none",
        f"postgres://nobody:x@127.0.0.1?{SECRET}@127.0.0.1/none",
        f"postgres://nobody:%zz{SECRET}@127.0.0.1/none",
        f"postgres://nobody:x@[{SECRET}@127.0.0.1/none",
        f"mysql://nobody:{SECRET}@127.0.0.1/none",
        f"host=127.0.0.1 port=1 password={SECRET}",
        SECRET,
    ],
)
def test_no_password_is_ever_printed(address: str) -> None:
    with pytest.raises(CommandError) as error:
        call_command("reconcile", payments=address)
    assert error.value.returncode == 2
    assert str(error.value).startswith("Can't read the payments: ")
    assert "\n" not in str(error.value)
    assert SECRET not in "".join(traceback.format_exception(error.value))
    assert SECRET not in repr(error.value)


def test_a_wrong_password_is_not_printed() -> None:
    parameters = connection.get_connection_params() | {"user": "nobody-here", "password": SECRET}
    with pytest.raises(CommandError, match="authentication failed") as error:
        call_command("reconcile", orders=database_url(parameters))
    assert SECRET not in "".join(traceback.format_exception(error.value))
    assert SECRET not in repr(Side("orders", parameters))


def test_it_prints_the_first_differences_and_writes_a_thousand(
    alice: User, put: Callable[..., UUID], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    young = put(PlantedRow(PAYING, age=YOUNG), None)
    force((INSERT_ORDERS, [alice.pk, LISTED_MAX + 5]))
    with pytest.raises(SystemExit) as exit_code:
        call_command("reconcile", json=tmp_path / "report.json", limit=3)
    assert exit_code.value.code == 1
    printed = capsys.readouterr().out
    assert printed.count("paid, 500 EUR, account 7") == 3
    assert "and 1,002 more" in printed
    written = json.loads((tmp_path / "report.json").read_text())
    assert (written["ok"], written["orders"], written["payments"]) == (False, LISTED_MAX + 6, 0)
    unpaid = written["kinds"]["unpaid"]
    assert (unpaid["old"], unpaid["in_flight"], len(unpaid["differences"])) == (
        LISTED_MAX + 5,
        0,
        LISTED_MAX,
    )
    [paying] = written["kinds"]["paying"]["differences"]
    assert (paying["order_id"], paying["in_flight"]) == (str(young), True)
    assert paying["order"] == {
        "status": PAYING,
        "amount": 500,
        "currency": "EUR",
        "account_id": 7,
        "updated_at": paying["since"],
    }
    assert paying["payment"] is None


def test_differences_in_flight_do_not_crowd_out_those_that_count(put: Callable[..., UUID]) -> None:
    young = [put(PlantedRow(PAYING, age=YOUNG), None) for _ in range(3)]
    counting = put(PlantedRow(PAYING), None)
    first = reconciled().kinds[DifferenceKind.PAYING].first
    assert [difference.order_id for difference in first] == [counting, *sorted(young)]


@pytest.mark.parametrize("option", ["--grace=-1", "--grace=x", "--limit=1001", "--grace=²"])
def test_an_option_that_is_no_number_is_refused(option: str) -> None:
    with pytest.raises(CommandError, match="is not a whole number up to"):
        call_command("reconcile", option)
