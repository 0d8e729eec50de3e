"""A system under load: a database of its own, a web server as deployed, customers, orders."""

import hashlib
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from subprocess import DEVNULL
from typing import Any
from uuid import UUID

import psycopg
from uuid_utils.compat import uuid7

from benchmarks import cpu, history
from benchmarks.load import Address
from benchmarks.packages.servers import database, free_port
from demo.processes import manage, running, wait_until_ready

# The settings of each, and whether its database keeps its triggers. `tuned` is naive with this
# project's authentication and prepared statements.
SYSTEMS = {
    "tutorial": ("benchmarks.baseline.tutorial", False),
    "tuned": ("benchmarks.baseline.settings", False),
    "ours": ("benchmarks.baseline.settings", True),
}

Session = psycopg.Connection[tuple[Any, ...]]

SKU = "TEA"
QUANTITY = 2
PRICE = 250
BALANCE = 10**15

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
  FROM unnest(%(ids)s::uuid[]) AS placed, orders_product product WHERE product.sku = %(sku)s
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
    """A running web server and its database.

    :param server: the process that starts the web server's others
    :param postmaster: the one that starts PostgreSQL's, if it is on this machine
    """

    address: Address
    server: int
    postmaster: int | None
    database: Session
    environment: Mapping[str, str]
    customers: list[Customer]

    def place(self, customer: Customer, count: int) -> list[UUID]:
        """Place so many orders of a customer's at once, past the server."""
        return place(self.database, customer, count)

    def python_seconds(self) -> float:
        """Return the CPU time that the web server's processes have used so far."""
        return cpu.of_family(self.server)

    def postgres_seconds(self) -> float | None:
        """Return the CPU time that PostgreSQL has used so far; None: on another machine."""
        return None if self.postmaster is None else cpu.of_family(self.postmaster)


@contextmanager
def system(
    server: Mapping[str, Any], name: str, *, customers: int, size: int = 0
) -> Iterator[System]:
    """Run a web server on a new database, which is dropped in the end.

    :param server: a Django connection's parameters
    :param name: one of SYSTEMS
    :param size: the orders that its customers have already
    """
    settings, guarded = SYSTEMS[name]
    with database(dict(server), f"{server['dbname']}_benchmark_{name}_{size}") as url:
        variables = environment(url, port=(port := free_port()))
        variables |= {"DJANGO_SETTINGS_MODULE": settings}
        assert manage("migrate", "--verbosity", "0", environment=variables) == 0
        command = ("-m", "gunicorn", "--config", "config/gunicorn.py")
        with (
            psycopg.connect(url, autocommit=True) as session,
            running(*command, environment=variables, stdout=DEVNULL) as process,
        ):
            wait_until_ready(f"http://127.0.0.1:{port}/readyz", process)
            if not guarded:
                session.execute(WITHOUT_TRIGGERS)
            session.execute(SETTLEMENT)
            session.execute(PRODUCT, [SKU, PRICE])
            made = [customer(session, number) for number in range(customers)]
            if size:
                history.write(session, orders=size, amount=QUANTITY * PRICE)
            processes = (process.pid, cpu.postmaster(session))
            yield System(("127.0.0.1", port), *processes, session, variables, made)


def environment(url: str, *, port: int) -> dict[str, str]:
    """Return the variables of a web server as deployed, whose callers may write without end."""
    return os.environ | {
        "DATABASE_URL": url,
        "ROLE": "both",
        "PAYMENTS_URL": "",
        "DATABASE_IDLE_SECONDS": "600",
        "DEBUG": "false",
        "SECRET_KEY": secrets.token_hex(32),
        "ALLOWED_HOSTS": "localhost,127.0.0.1",
        "HTTPS": "false",
        "LOG_LEVEL": "WARNING",
        "WRITES_PER_MINUTE": "100000000",
        "CHARGES_PER_MINUTE": "100000000",
        "PORT": str(port),
    }


def place(session: Session, customer: Customer, count: int) -> list[UUID]:
    """Place so many orders of a customer's at once."""
    ids = [uuid7() for _ in range(count)]
    values = {
        "customer": customer.id,
        "ids": ids,
        "amount": QUANTITY * PRICE,
        "quantity": QUANTITY,
        "sku": SKU,
    }
    with session.transaction():
        session.execute(ORDERS, values)
        session.execute(LINES, values)
    return ids


def user(session: Session, name: str, *, token: str = "") -> int:
    """Make a user, with an API token where one is given; return the user's id."""
    made = _one(session, CUSTOMER, name)
    if token:
        session.execute(TOKEN, [made, hashlib.sha256(token.encode()).hexdigest()])
    return made


def account(session: Session, owner: int) -> int:
    """Open an account with more than enough; return its id."""
    return _one(session, ACCOUNT, owner, BALANCE, BALANCE)


def customer(session: Session, number: int) -> Customer:
    """Make a customer with a token and an account."""
    token = f"benchmark-{number}"
    made = user(session, f"customer{number}", token=token)
    return Customer(made, token, account(session, made))


def _one(session: Session, statement: str, *values: Any) -> int:
    row = session.execute(statement.encode(), values).fetchone()
    assert row is not None
    return int(row[0])
