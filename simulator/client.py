"""The shop over HTTP, by a good client: when told to come back it does, with the same key."""

import json
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import takewhile
from threading import Event
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from urllib3 import Timeout, connection_from_url
from urllib3.exceptions import HTTPError

TIMEOUT = Timeout(connect=5, read=40)
PATIENCE_SECONDS = 30.0
ACCEPTED_SECONDS = 120.0  # patience once it was 202: somebody is at work on it
PAUSE_SECONDS = 0.5  # after a lost connection, or where Retry-After is missing
IDLE_SECONDS = 1.0  # servers close idle connections, some after 2 seconds

NO_ANSWER = 0
NOT_NOW = frozenset({NO_ANSWER, 202, 429, 503})


class ServerUnusable(Exception):
    """The server can't be reached, or does not let customers in; says why in one line."""


@dataclass(frozen=True)
class Answer:
    """The last answer to a request, and what it took to get it."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    retries: int = 0
    accepted: bool = False  # it was 202 before
    started: float = 0.0
    finished: float = 0.0

    @cached_property
    def problem(self) -> str:
        """The last word of a problem's type, such as order-already-paid; empty where none is."""
        if self.status < 400:
            return ""
        try:
            return str(json.loads(self.body)["type"]).rpartition("/")[2]
        except (ValueError, LookupError, TypeError):
            return ""

    @property
    def final(self) -> bool:
        """Whether the answer decides the request, so that a repeat would be pointless."""
        return self.status not in NOT_NOW and self.problem != "idempotency-key-in-use"

    @property
    def pause(self) -> float:
        """The seconds to wait before the repeat, with jitter so that repeats spread out."""
        asked = self.headers.get("Retry-After", "")
        seconds = float(asked) if asked.isdecimal() else PAUSE_SECONDS
        return seconds + random.uniform(0.01, 0.25)  # noqa: S311 - jitter, no secret


class Client:
    """Sends requests to one server over connections that stay open; threads may share it."""

    def __init__(self, base_url: str, *, connections: int) -> None:
        self.base_url = base_url.rstrip("/")
        self._root = urlsplit(self.base_url).path
        self._connections = connections
        self._pool = connection_from_url(
            self.base_url, maxsize=connections, retries=False, timeout=TIMEOUT
        )
        self._warm_until = 0.0
        self._given_up = Event()

    def warm(self) -> bool:
        """Open all connections, so that no click begins with a connect; False if none opens."""
        if time.monotonic() > self._warm_until:
            try:
                # An answer not read yet keeps its connection, so each request takes another one.
                held = [
                    self._pool.urlopen("GET", f"{self._root}/healthz", preload_content=False)
                    for _ in range(self._connections)
                ]
            except HTTPError:
                return False
            for answer in held:
                answer.drain_conn()
        self._warm_until = time.monotonic() + IDLE_SECONDS
        return True

    def send(
        self, method: str, path: str, *, token: str = "", key: str = "", content: object = None
    ) -> Answer:
        """Send a request, and the same again until its answer is final or patience ends."""
        headers = {"Content-Type": "application/json"}
        headers |= {"Authorization": f"Token {token}"} if token else {}
        headers |= {"Idempotency-Key": key} if key else {}
        body = None if content is None else json.dumps(content)
        started = time.perf_counter()
        retries, accepted = 0, False
        while True:
            heard = self._once(method, path, headers, body)
            accepted |= heard[0] == 202
            finished = time.perf_counter()
            answer = Answer(*heard, retries, accepted, started, finished)
            pause = answer.pause
            patience = ACCEPTED_SECONDS if accepted else PATIENCE_SECONDS
            if answer.final or finished + pause > started + patience or self._given_up.wait(pause):
                return answer
            retries += answer.status != 202

    def give_up(self) -> None:
        """Have every request, those under way too, return the answer it has; no more repeats."""
        self._given_up.set()

    def _once(
        self, method: str, path: str, headers: dict[str, str], body: str | None
    ) -> tuple[int, Mapping[str, str], bytes]:
        url = path if path.startswith("/") else f"{self._root}/api/v1/{path}"
        try:
            answer = self._pool.urlopen(method, url, body=body, headers=headers)
        except HTTPError:
            return NO_ANSWER, {}, b""
        return answer.status, answer.headers, answer.data

    def ask(self, method: str, path: str, **request: Any) -> Any:
        """Send a request that has to succeed and return the JSON of its answer.

        :raises ServerUnusable: it did not succeed
        """
        answer = self.send(method, path, **request)
        if answer.status in {200, 201} and "json" in answer.headers.get("Content-Type", ""):
            return json.loads(answer.body)
        said = f"answered {answer.status} {answer.problem}" if answer.status else "was silent"
        raise ServerUnusable(f"{self.base_url} {said.strip()} when asked: {method} {path}")

    def items(self, path: str, *, token: str = "") -> Iterator[dict[str, Any]]:
        """Yield the items of a list, page after page."""
        following = path
        while following:
            page = self.ask("GET", following, token=token)
            yield from page["results"]
            following = urlsplit(page["next"] or "")._replace(scheme="", netloc="").geturl()


@dataclass(frozen=True)
class Customer:
    """A customer's tokens at the order system and at the payment system, which may be one."""

    token: str
    payments_token: str


@dataclass(frozen=True)
class Account:
    """A customer's account as it stood when it was looked at."""

    id: int
    customer: Customer
    currency: str
    balance: int
    newest_entry: int | None


@dataclass(frozen=True)
class Order:
    id: str
    amount: int
    account: Account


def sign_in(client: Client, username: str, password: str) -> str:
    """Return a customer's token."""
    content = {"username": username, "password": password}
    try:
        return str(client.ask("POST", "sign-in/", content=content)["token"])
    except ServerUnusable as error:
        hint = f"as {username} with DEMO_PASSWORD; to set both up: manage.py seed_demo"
        raise ServerUnusable(f"{error} {hint}") from error


def accounts(client: Client, customer: Customer) -> Iterator[Account]:
    """Yield a customer's accounts as they stand."""
    token = customer.payments_token
    for found in client.items("accounts/", token=token):
        newest = next((entry["id"] for entry in _entries(client, found["id"], token)), None)
        yield Account(found["id"], customer, found["currency"], found["balance"], newest)


def entries_since(client: Client, account: Account) -> Iterator[dict[str, Any]]:
    """Yield what was written to an account since it was looked at, newest first."""
    entries = _entries(client, account.id, account.customer.payments_token)
    return takewhile(lambda entry: entry["id"] != account.newest_entry, entries)


def _entries(client: Client, account_id: int, token: str) -> Iterator[dict[str, Any]]:
    return client.items(f"accounts/{account_id}/entries/?page_size=200", token=token)


def place_order(client: Client, account: Account, sku: str) -> Order:
    """Order one piece, to be paid from an account."""
    content, key = {"lines": [{"sku": sku, "quantity": 1}]}, str(uuid4())
    order = client.ask("POST", "orders/", token=account.customer.token, key=key, content=content)
    return Order(order["id"], order["amount"], account)


def pay(client: Client, order: Order, key: str) -> Answer:
    """Click on pay."""
    token, content = order.account.customer.token, {"account": order.account.id}
    return client.send("POST", f"orders/{order.id}/pay/", token=token, key=key, content=content)
