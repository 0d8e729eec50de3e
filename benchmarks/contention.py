"""Measure what a bystander waits while a crowd clicks: `python -m benchmarks.contention`.

Each of many clients has a connection of its own, and all send one pay request with one key at the
same instant. Whoever gets 409 sends it again after `Retry-After`. Meanwhile another customer places
one order after another. With --quiet-seconds it also measures a click after a pause.
"""

import argparse
import asyncio
import hashlib
import json
import multiprocessing
import os
import secrets
import socket
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any
from uuid import uuid4

import psycopg
import urllib3

from benchmarks.packages.servers import database
from demo.processes import manage, running, wait_until_ready

NAME = "benchmark_contention"
BALANCE = 10**12
CONNECTIONS_AT_ONCE = 50  # that a client's machine opens, not what is measured
SEED = f"""
INSERT INTO payments_account (currency) VALUES ('EUR');
INSERT INTO orders_product (sku, name, price, currency) VALUES ('TEA', 'Tea', 250, 'EUR');
INSERT INTO auth_user (username, password, is_superuser, is_staff, is_active, first_name,
                       last_name, email, date_joined)
SELECT name, '!', false, false, true, '', '', '', now()
  FROM unnest('{{crowd,bystander}}'::text[]) name;
INSERT INTO payments_account (owner_id, currency, opening_balance, balance)
SELECT id, 'EUR', {BALANCE}, {BALANCE} FROM auth_user;
"""
TOKENS = """
INSERT INTO web_apitoken (user_id, digest, name)
SELECT id, encode(sha256(username::bytea), 'hex'), 'benchmark' FROM auth_user
"""


def main() -> None:
    """Print the bystander's times, the crowd's responses and how long they took, for each round."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--clients", type=int, default=1000, help="with one key, all at once")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quiet-seconds", type=int, default=0, help="before a click")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    import django

    django.setup()
    from django.db import connection

    connection.ensure_connection()  # this starts the embedded PostgreSQL
    with _server(connection.get_connection_params()) as (port, account):
        rounds = [_round(port, account, options.clients) for _ in range(options.rounds)]
        if options.quiet_seconds:
            rounds.append(_after_a_pause(port, account, options.quiet_seconds))
    for measured in rounds:
        as_text = "  ".join(f"{name}: {value}" for name, value in measured.items())
        sys.stdout.write(f"{json.dumps(measured) if options.json else as_text}\n")


@contextmanager
def _server(server: dict[str, Any]) -> Iterator[tuple[int, int]]:
    """Yield the port of a web server on a new database, and the crowd's account."""
    with database(server, NAME) as url, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
        probe.close()
        environment = os.environ | {
            "DATABASE_URL": url,
            "ROLE": "both",
            "DEBUG": "false",
            "SECRET_KEY": secrets.token_hex(32),
            "ALLOWED_HOSTS": "127.0.0.1",
            "HTTPS": "false",
            "LOG_LEVEL": "WARNING",
            "WRITES_PER_MINUTE": "100000000",
            "PORT": str(port),
        }
        assert manage("migrate", "--verbosity", "0", environment=environment) == 0
        with psycopg.connect(url, autocommit=True) as session:
            session.execute(SEED.encode())
            session.execute(TOKENS)
            found = session.execute("SELECT min(id) FROM payments_account WHERE balance > 0")
            account = int((found.fetchone() or (0,))[0])
        command = ("-m", "gunicorn", "--config", "config/gunicorn.py")
        with running(*command, environment=environment) as process:
            wait_until_ready(f"http://127.0.0.1:{port}/readyz", process)
            yield port, account


class Customer:
    """Somebody who places and pays one order after another, on one connection."""

    def __init__(self, port: int, name: str) -> None:
        self.http = urllib3.HTTPConnectionPool("127.0.0.1", port, timeout=60, retries=False)
        self.headers = {"Authorization": f"Token {name}"}

    def post(self, path: str, body: Any) -> urllib3.BaseHTTPResponse:
        headers = self.headers | {"Idempotency-Key": uuid4().hex}
        return self.http.request("POST", path, json=body, headers=headers)

    def place(self) -> str:
        response = self.post("/api/v1/orders/", {"lines": [{"sku": "TEA", "quantity": 1}]})
        assert response.status == 201, response.data
        return str(response.json()["id"])

    def pay(self, order: str, account: int) -> float:
        """Pay an order and return how many ms that took."""
        started = time.perf_counter()
        response = self.post(f"/api/v1/orders/{order}/pay/", {"account": account})
        assert response.status == 200, response.data
        return (time.perf_counter() - started) * 1000


def _round(port: int, account: int, clients: int) -> dict[str, Any]:
    bystander = Customer(port, "bystander")
    order = Customer(port, "crowd").place()
    for _ in range(20):
        bystander.place()
    results: Any = multiprocessing.SimpleQueue()
    begun = multiprocessing.Event()
    arguments = (port, order, account, clients, begun, results)
    crowd = multiprocessing.Process(target=_crowd, args=arguments, daemon=True)
    crowd.start()
    begun.wait()
    times = []
    while results.empty():
        started = time.perf_counter()
        bystander.place()
        times.append((time.perf_counter() - started) * 1000)
    seen = results.get()
    crowd.join()
    return {
        "bystander p50 ms": round(statistics.median(times), 1),
        "p99 ms": round(sorted(times)[int(len(times) * 0.99)], 1),
        "max ms": round(max(times), 1),
        **seen,
    }


def _crowd(port: int, order: str, account: int, clients: int, begun: Any, results: Any) -> None:
    results.put(asyncio.run(_click_at_once(port, order, account, clients, begun)))


async def _click_at_once(
    port: int, order: str, account: int, clients: int, begun: Any
) -> dict[str, Any]:
    body = json.dumps({"account": account}).encode()
    request = (
        f"POST /api/v1/orders/{order}/pay/ HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Authorization: Token crowd\r\nIdempotency-Key: {uuid4().hex}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    opening, go, refused = asyncio.Semaphore(CONNECTIONS_AT_ONCE), asyncio.Event(), count()
    ready = [
        asyncio.create_task(_click(port, request, opening, go, refused)) for _ in range(clients)
    ]
    await asyncio.sleep(0.5)
    while opening.locked():
        await asyncio.sleep(0.05)
    begun.set()
    started = time.perf_counter()
    go.set()
    responses = await asyncio.gather(*ready)
    return {
        "drained s": round(time.perf_counter() - started, 2),
        "responses": dict(Counter(head[9:12].decode() for head, _ in responses)),
        "different": len({digest for _, digest in responses}),
        "refusals": next(refused),
    }


async def _click(
    port: int, request: bytes, opening: asyncio.Semaphore, go: asyncio.Event, refused: Iterator[int]
) -> tuple[bytes, str]:
    """Send a request until it is no longer refused, and return its response."""
    async with opening:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await go.wait()
    while True:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
        body = await reader.readexactly(int(lines[b"content-length"]))
        if b"in-use" not in body:
            writer.close()
            return head, hashlib.sha256(body).hexdigest()
        next(refused)
        await asyncio.sleep(int(lines[b"retry-after"]))


def _after_a_pause(port: int, account: int, seconds: int) -> dict[str, Any]:
    """Return how long a click takes after a pause, and one of many in a row."""
    customer = Customer(port, "crowd")
    orders = [customer.place() for _ in range(60)]
    usual = statistics.median(customer.pay(order, account) for order in orders[:50])
    first = []
    for order in orders[50:53]:
        time.sleep(seconds)
        first.append(customer.pay(order, account))
    return {
        "click p50 ms": round(usual, 1),
        f"first clicks after {seconds} s, ms": [round(ms, 1) for ms in first],
    }


if __name__ == "__main__":
    main()
