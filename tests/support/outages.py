"""A shop on a PostgreSQL of its own, and customers who note what they get, how late, and when."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import urllib3

from tests.support.live import Caller, LiveServer, descendants, until
from tests.support.own_postgres import OwnPostgres

Response = urllib3.BaseHTTPResponse
# As docs/contract.md has them: 503 for who was in flight, for who comes later, and the end of it.
IN_FLIGHT_SECONDS_MAX, LATER_SECONDS_MAX, RECOVERY_SECONDS_MAX = 20, 5, 5
TEA = {"lines": [{"sku": "TEA", "quantity": 2}]}


@dataclass(frozen=True)
class Received:
    """What a client got for a request, and after how many seconds."""

    what: str
    status: int
    seconds: float
    headers: Any
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def timed(what: str, request: Callable[[], Response]) -> Received:
    """Send a request, and note what came of it."""
    started = time.monotonic()
    response = request()
    seconds = time.monotonic() - started
    return Received(what, response.status, seconds, response.headers, response.data)


@dataclass
class Shop:
    """The server, its database, and alice with her account."""

    server: LiveServer
    postgres: OwnPostgres
    seeded: dict[str, Any]
    callers: list[Caller] = field(init=False)  # one user each, the first of them alice

    def __post_init__(self) -> None:
        tokens = [user["token"] for user in self.seeded["users"]]
        self.callers = [Caller(self.server.url, token, timeout=120) for token in tokens]
        self.alice = self.callers[0]

    @property
    def body(self) -> dict[str, Any]:
        """The body of a pay request."""
        return {"account": self.seeded["users"][0]["accounts"][0]["id"]}

    def place(self, *, key: str = "", by: int = 0) -> Response:
        return self.callers[by].post("/api/v1/orders/", TEA, key=key or uuid4().hex)

    def order(self) -> str:
        """Place an order and return its id."""
        placed = self.place()
        assert placed.status == 201, placed.data
        return str(placed.json()["id"])

    def pay(self, order: str, *, key: str) -> Response:
        return self.alice.post(f"/api/v1/orders/{order}/pay/", self.body, key=key)

    def sign_in(self) -> Response:
        credentials = {"username": "alice", "password": self.seeded["users"][0]["password"]}
        return urllib3.request(
            "POST",
            f"{self.server.url}/api/v1/sign-in/",
            json=credentials,
            retries=False,
            timeout=120,
        )

    def get(self, path: str) -> Response:
        return self.alice.get(path)

    def workers(self) -> set[int]:
        """Return the server's processes: a restarted one would be another."""
        return set(descendants(self.server.process.pid))

    def serves(self) -> bool:
        """Return True if writes succeed, in all processes: one has not enough threads for these."""
        with ThreadPoolExecutor(40) as pool:
            placed = [pool.submit(self.place) for _ in range(40)]
        return {each.result().status for each in placed} == {201}

    def balance(self) -> int:
        return int(self.get(f"/api/v1/accounts/{self.body['account']}/").json()["balance"])

    def sessions_in_transaction(self) -> int:
        """Return how many sessions of the database are in a transaction or wait for something."""
        ((count,),) = self.postgres.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
            " AND datname = 'shop' AND xact_start IS NOT NULL AND pid <> pg_backend_pid()"
        )
        return int(count)


@contextmanager
def open_shop(
    postgres: OwnPostgres,
    folder: Path,
    *,
    tablespace: str = "pg_default",
    workers: int = 3,
    threads: int = 8,
    **environment: str,
) -> Iterator[Shop]:
    """Serve the shop from a new database."""
    seeded = postgres.prepare(tablespace)
    with LiveServer(
        database=postgres.parameters,
        folder=folder,
        workers=workers,
        threads=threads,
        **environment,
    ) as server:
        yield Shop(server, postgres, seeded)


@contextmanager
def customers(count: int, click: Callable[[], Received]) -> Iterator[list[Received]]:
    """Have so many customers click for as long as the block runs; the list is whole after it."""
    closed, received = threading.Event(), list[Received]()

    def keep_clicking() -> None:
        while not closed.is_set():
            received.append(click())
            closed.wait(0.2)

    with ThreadPoolExecutor(count) as pool:
        clicking = [pool.submit(keep_clicking) for _ in range(count)]
        try:
            yield received
        finally:
            closed.set()
    for each in clicking:
        each.result()


def seconds_until(condition: Callable[[], Any], *, what: str) -> float:
    """Return how long a condition took to become true."""
    started = time.monotonic()
    until(condition, what=what)
    return time.monotonic() - started
