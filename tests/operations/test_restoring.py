"""The runbook of docs/restoring.md, played with real servers, relays, backups and restores."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import pytest
import urllib3

from tests.support.live import Caller, until
from tests.support.systems import System, system

pytestmark = pytest.mark.django_db(transaction=True)

ORDER = {"lines": [{"sku": "TEA", "quantity": 2}]}
PRICE = 500
GONE = "orders that are gone: for a person"
BEHIND = "orders that their payment is ahead of: --apply, then the relay"
UNPAID = "paid orders whose payment is gone: for a person"
REVERTED = "orders that no longer are what their customer got: for a person"
LOST_KEYS = "acknowledged requests whose key is forgotten: --apply"


class Shop(NamedTuple):
    """The systems of a shop, and alice, who buys there."""

    orders: System
    payments: System
    alice: Caller
    account: int
    service: Caller

    def place(self, key: str) -> urllib3.BaseHTTPResponse:
        return self.alice.post("/api/v1/orders/", ORDER, key=key)

    def placed(self, key: str) -> str:
        response = self.place(key)
        assert response.status == 201
        return str(response.json()["id"])

    def pay(self, order: str, key: str, **headers: str) -> urllib3.BaseHTTPResponse:
        body = {"account": self.account}
        return self.alice.post(f"/api/v1/orders/{order}/pay/", body, key=key, **headers)

    def paid(self, order: str, key: str) -> None:
        until(lambda: self.pay(order, key).status == 200, what=f"{order} is paid")

    def payments_of(self) -> list[str]:
        rows = self.payments.query("SELECT order_id::text FROM payments_payment ORDER BY 1")
        return [order for (order,) in rows]

    def charged(self) -> int:
        (row,) = self.payments.query(
            f"SELECT opening_balance - balance FROM payments_account WHERE id = {self.account}"
        )
        return int(row[0])

    def status_of(self, order: str) -> int | None:
        rows = self.orders.query(f"SELECT status FROM orders_order WHERE id = '{order}'")
        return rows[0][0] if rows else None

    def open(self, *, relay: bool = True) -> None:
        if self.payments is not self.orders:
            self.payments.serve()
        self.orders.serve()
        if relay and self.payments is not self.orders:
            self.orders.relay()

    def close(self) -> None:
        self.orders.close()
        self.payments.close()

    def after_restore(self, since: str, *arguments: str) -> tuple[int, str]:
        log = ("--log", str(self.orders.log))
        ran = self.orders.manage("after_restore", "--since", since, *log, *arguments)
        assert ran.returncode in {0, 1}, ran.stderr
        return ran.returncode, ran.stdout


def now() -> str:
    return datetime.now(UTC).isoformat()


def left(output: str) -> dict[str, int]:
    """Return what the table counts, by kind, without the zeros."""
    (table,) = (output.partition("After the restore")[2].partition("\n\n")[0],)
    rows = [line.strip().rsplit(maxsplit=1) for line in table.splitlines()]
    counts = {row[0]: row[1] for row in rows if len(row) == 2 and row[1].isdigit()}
    assert GONE in counts, output
    return {kind: int(count) for kind, count in counts.items() if count != "0"}


def row_of(order: str, output: str) -> str:
    """Return what is listed about an order."""
    (row,) = [line for line in output.splitlines() if line.split()[:1] == [order]]
    return row


@contextmanager
def logged_apart(shop: Shop, folder: Path) -> Iterator[None]:
    """Keep the log of a block out of the archive: at the runbook's time it never happened."""
    archive, shop.orders.log = shop.orders.log, folder / "apart.log"
    yield
    shop.orders.log = archive


def customer_of(seeded: dict[str, Any]) -> dict[str, Any]:
    return next(user for user in seeded["users"] if user["username"] == "alice")


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Shop]:
    """A shop of one system."""
    with system("both", role="both", folder=tmp_path) as both:
        seeded = both.set_up()
        alice = customer_of(seeded)
        caller, service = both.caller(alice["token"]), both.caller(seeded["service_token"])
        yield Shop(both, both, caller, alice["accounts"][0]["id"], service)


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Shop]:
    """A shop of two systems."""
    with (
        system("orders", role="orders", folder=tmp_path) as orders,
        system("payments", role="payments", folder=tmp_path) as payments,
    ):
        charging = payments.set_up()
        orders.environment["PAYMENTS_URL"] = payments.url
        orders.environment["PAYMENTS_TOKEN"] = charging["service_token"]
        orders.environment["PAYMENTS_DATABASE_URL"] = payments.database
        alice = customer_of(orders.set_up())
        account = customer_of(charging)["accounts"][0]["id"]
        service = payments.caller(charging["service_token"])
        yield Shop(orders, payments, orders.caller(alice["token"]), account, service)


def test_the_order_system_is_restored(two: Shop, tmp_path: Path) -> None:
    backup, payments_at_the_crash = tmp_path / "orders.dump", tmp_path / "payments.dump"
    two.open(relay=False)
    submitted, paying = two.placed("submitted"), two.placed("paying")
    assert two.pay(paying, "pay-paying", Prefer="wait=0").status == 202
    two.orders.back_up(backup)
    since = now()
    two.orders.relay()
    two.paid(paying, "pay-paying")
    two.paid(submitted, "pay-submitted")
    lost = two.placed("lost")
    two.paid(lost, "pay-lost")
    two.close()
    known = sorted([submitted, paying, lost])
    assert (two.payments_of(), two.charged()) == (known, 3 * PRICE)
    two.payments.back_up(payments_at_the_crash)

    pay_the_lost_order_a_second_time(two, lost, backup, tmp_path)
    assert (len(two.payments_of()), two.charged()) == (4, 4 * PRICE)

    # The runbook.
    two.payments.restore(payments_at_the_crash)
    two.orders.restore(backup)
    code, output = two.after_restore(since)
    assert (code, left(output)) == (1, {LOST_KEYS: 3, GONE: 1, BEHIND: 2})
    assert "succeeded, 500 EUR" in row_of(lost, output)
    assert "alice" in row_of(lost, output)
    code, output = two.after_restore(since, "--apply")
    assert "3 forgotten keys refused from now on; 1 orders handed to the relay." in output
    assert (code, left(output)) == (1, {GONE: 1, BEHIND: 2})
    code, output = two.after_restore(since, "--apply")
    assert "0 forgotten keys refused from now on; 0 orders handed to the relay." in output
    two.payments.serve()
    two.orders.relay()  # the shop is still closed
    until(lambda: {two.status_of(each) for each in (submitted, paying)} == {2}, what="settled")
    code, output = two.after_restore(since)
    assert (code, left(output)) == (1, {GONE: 1})
    (tmp_path / "dealt-with").write_text(f"{lost}\n")
    code, output = two.after_restore(since, "--dealt-with", str(tmp_path / "dealt-with"))
    assert (code, left(output)) == (0, {})
    assert two.orders.manage("audit").returncode == 0
    assert two.payments.manage("audit").returncode == 0
    reconciled = two.orders.manage("reconcile", "--grace", "0")
    assert "differences older than 0 s: 1." in reconciled.stdout
    assert lost in reconciled.stdout

    # Open again: no retry runs a second time.
    two.orders.serve()
    retries = two.place("lost"), two.pay(lost, "pay-lost"), two.pay(submitted, "pay-submitted")
    for response in retries:
        assert response.status == 410
        assert response.json()["type"] == "/problems/idempotency-key-expired"
    assert two.pay(paying, "pay-paying").headers["Idempotent-Replayed"] == "true"
    assert two.place("new").status == 201
    assert (two.payments_of(), two.charged()) == (known, 3 * PRICE)


def pay_the_lost_order_a_second_time(two: Shop, lost: str, backup: Path, folder: Path) -> None:
    """Do what a restore alone leads to: the retry makes a new order, and pays that one, too."""
    two.orders.restore(backup)
    with logged_apart(two, folder):
        two.open()
        another = two.placed("lost")
        assert another != lost
        two.paid(another, "pay-lost-2")
        two.close()


def test_the_payment_system_is_restored(two: Shop, tmp_path: Path) -> None:
    backup, since = tmp_path / "payments.dump", now()
    two.open()
    two.payments.back_up(backup)
    order = two.placed("order")
    two.paid(order, "pay")
    two.close()
    two.payments.restore(backup)
    assert (two.payments_of(), two.charged()) == ([], 0)

    code, output = two.after_restore(since, "--apply", "--json", str(tmp_path / "report.json"))

    assert (code, left(output)) == (1, {UNPAID: 1})
    (unpaid,) = json.loads((tmp_path / "report.json").read_text())["kinds"]["unpaid"]
    assert unpaid["order_id"] == order
    # As the runbook says: request the payment again, on the order's terms.
    terms = {name: unpaid["order"][name] for name in ("amount", "currency", "account_id")}
    terms["customer"] = unpaid["customer"]
    two.payments.serve()
    statuses = [
        two.service.post("/api/v1/payments/", terms | {"order_id": order}).status for _ in range(2)
    ]
    assert statuses == [201, 200]
    code, output = two.after_restore(since)
    assert (code, left(output)) == (0, {})
    assert (two.payments_of(), two.charged()) == ([order], PRICE)


def test_one_system_is_restored(one: Shop, tmp_path: Path) -> None:
    backup, since = tmp_path / "both.dump", now()
    one.open()
    before = one.placed("before")
    one.close()
    one.orders.back_up(backup)
    one.orders.restore(backup)
    assert one.after_restore(since, "--apply")[0] == 0, "nothing is lost yet"
    one.open()
    lost = one.placed("lost")
    assert {one.pay(before, "pay-before").status, one.pay(lost, "pay-lost").status} == {200}
    one.close()

    # What a restore alone leads to: the retry runs again.
    one.orders.restore(backup)
    with logged_apart(one, tmp_path):
        one.open()
        assert one.placed("lost") != lost
        one.close()

    # The runbook.
    one.orders.restore(backup)
    code, output = one.after_restore(since)
    assert (code, left(output)) == (1, {LOST_KEYS: 3, GONE: 1, REVERTED: 1})
    assert row_of(lost, output).split()[1:3] == ["none", "none"]
    assert "submitted, 500 EUR" in row_of(before, output)
    assert "200, " in row_of(before, output)
    code, output = one.after_restore(since, "--apply")
    assert (code, left(output)) == (1, {GONE: 1, REVERTED: 1})
    (tmp_path / "dealt-with").write_text(f"{lost}\n{before}\n")
    code, output = one.after_restore(since, "--dealt-with", str(tmp_path / "dealt-with"))
    assert (code, left(output)) == (0, {})
    assert one.orders.manage("audit").returncode == 0
    one.open()
    assert {one.place("lost").status, one.pay(before, "pay-before").status} == {410}
    assert one.pay(before, uuid4().hex).status == 200, "the customer pays under a new key"
    assert (one.payments_of(), one.charged()) == ([before], PRICE)
