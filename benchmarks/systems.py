"""A system under load: a database of its own, a web server as deployed, customers, orders."""

import hashlib
import os
import secrets
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL
from typing import Any
from uuid import UUID

import psycopg
from uuid_utils.compat import uuid7

from benchmarks.packages.servers import database
from demo.processes import manage, running, wait_until_ready

SKU = "TEA"
QUANTITY = 2
PRICE = 250
BALANCE = 10**15
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")

CUSTOMER = """
INSERT INTO auth_user (username, password, is_superuser, is_staff, is_active, first_name,
                       last_name, email, date_joined)
VALUES (%s, '!', false, false, true, '', '', '', now()) RETURNING id
"""
TOKEN = "INSERT INTO web_apitoken (user_id, digest, name) VALUES (%s, %s, 'benchmark')"
ACCOUNT = """
INSERT INTO payments_account (owner_id, currency, opening_balance, balance)
VALUES (%s, 'EUR', %s, %s) RETURNING id
"""
SETTLEMENT = "INSERT INTO payments_account (currency) VALUES ('EUR')"
PRODUCT = "INSERT INTO orders_product (sku, name, price, currency) VALUES (%s, 'Tea', %s, 'EUR')"
ORDERS = """
INSERT INTO orders_order (id, customer_id, status, amount, currency, created_at, updated_at)
SELECT id, %(customer)s, 0, %(amount)s, 'EUR', now(), now() FROM unnest(%(ids)s::uuid[]) AS id
"""
LINES = """
INSERT INTO orders_orderline (order_id, product_id, sku, name, quantity, unit_price)
SELECT placed, product.id, product.sku, product.name, %(quantity)s, product.price
  FROM unnest(%(ids)s::uuid[]) AS placed, orders_product product
"""
WITHOUT_TRIGGERS = """
DO $$ DECLARE each record; BEGIN
    FOR each IN
        SELECT DISTINCT tgrelid::regclass AS its_table FROM pg_trigger WHERE NOT tgisinternal
    LOOP EXECUTE format('ALTER TABLE %s DISABLE TRIGGER USER', each.its_table); END LOOP;
END $$
"""


@dataclass(frozen=True)
class Customer:
    """Somebody who pays: an id, an API token and an account with more than enough."""

    id: int
    token: str
    account: int


@dataclass
class System:
    """A running web server and its database."""

    address: tuple[str, int]
    pid: int
    database: psycopg.Connection[tuple[Any, ...]]
    environment: Mapping[str, str]
    customers: list[Customer]

    def place(self, customer: Customer, count: int) -> list[UUID]:
        """Place so many orders of a customer's at once, past the server."""
        ids = [uuid7() for _ in range(count)]
        values = {
            "customer": customer.id,
            "ids": ids,
            "amount": QUANTITY * PRICE,
            "quantity": QUANTITY,
        }
        with self.database.transaction():
            self.database.execute(ORDERS, values)
            self.database.execute(LINES, values)
        return ids

    def cpu_seconds(self) -> float:
        """Return what the web server's processes have used so far."""
        return sum(_cpu_seconds(pid) for pid in _tree(self.pid))


@contextmanager
def system(
    server: Mapping[str, Any], name: str, *, customers: int, guarded: bool
) -> Iterator[System]:
    """Run a web server on a new database, which is dropped in the end.

    :param server: a Django connection's parameters
    :param guarded: whether the database keeps its triggers
    """
    with database(dict(server), name) as url:
        environment = os.environ | {
            "DATABASE_URL": url,
            "DATABASE_IDLE_SECONDS": "600",
            "DEBUG": "false",
            "SECRET_KEY": secrets.token_hex(32),
            "ALLOWED_HOSTS": "localhost,127.0.0.1",
            "HTTPS": "false",
            "LOG_LEVEL": "WARNING",
            "WRITES_PER_MINUTE": "100000000",
            "DJANGO_SETTINGS_MODULE": "benchmarks.baseline.settings",
            "PORT": str(port := _free_port()),
        }
        assert manage("migrate", "--verbosity", "0", environment=environment) == 0
        command = ("-m", "gunicorn", "--config", "config/gunicorn.py")
        with (
            psycopg.connect(url, autocommit=True) as session,
            running(*command, environment=environment, stdout=DEVNULL) as process,
        ):
            wait_until_ready(f"http://127.0.0.1:{port}/readyz", process)
            if not guarded:
                session.execute(WITHOUT_TRIGGERS)
            session.execute(SETTLEMENT)
            session.execute(PRODUCT, [SKU, PRICE])
            made = [_customer(session, number) for number in range(customers)]
            yield System(("127.0.0.1", port), process.pid, session, environment, made)


def postgres_cpu_seconds() -> float | None:
    """Return what PostgreSQL has used on this machine so far; None: it is on another."""
    postgres = [pid for pid in _processes() if _name(pid) == "postgres"]
    return sum(_cpu_seconds(pid, with_children=True) for pid in postgres) or None


def _customer(session: psycopg.Connection[tuple[Any, ...]], number: int) -> Customer:
    def one(statement: str, *values: Any) -> int:
        row = session.execute(statement.encode(), values).fetchone()
        assert row is not None
        return int(row[0])

    token = f"benchmark-{number}"
    customer = one(CUSTOMER, f"customer{number}")
    session.execute(TOKEN, [customer, hashlib.sha256(token.encode()).hexdigest()])
    return Customer(customer, token, one(ACCOUNT, customer, BALANCE, BALANCE))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _processes() -> list[int]:
    return [int(each.name) for each in Path("/proc").iterdir() if each.name.isdecimal()]


def _stat(pid: int) -> list[str]:
    """Return the fields of a process's stat from its state on; of one that is gone none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _tree(root: int) -> list[int]:
    parents = {pid: int(stat[1]) for pid in _processes() if (stat := _stat(pid))}
    return [root, *(pid for pid, parent in parents.items() if parent == root)]


def _cpu_seconds(pid: int, *, with_children: bool = False) -> float:
    used = _stat(pid)[11 : 15 if with_children else 13]
    return sum(map(int, used)) / TICKS_PER_SECOND
