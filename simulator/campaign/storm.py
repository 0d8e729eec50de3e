"""Customers who order and pay without a pause, each request with duplicates, until stopped."""

import hashlib
import json
import random
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, NamedTuple
from uuid import uuid4

from simulator import shop_client
from simulator.http_client import HttpClient, LastResponse

CUSTOMERS = 6
CUSTOMER = "alice"  # who all of them are
DUPLICATES = 4  # of each pay: half under one key, half under keys of their own
RETRY_SECONDS_MAX = 150.0  # longer than any failover


class Received(NamedTuple):
    """A line of the journal: a response as a customer got it, final or not."""

    at: float
    path: str
    key: str
    status: int
    is_final: bool
    digest: str
    order: str
    payment: str


class Journal:
    """Every response, and what was acknowledged by them."""

    def __init__(self) -> None:
        self.lines: list[Received] = []

    def note(self, path: str, key: str, status: int, body: bytes) -> None:
        """Write a response down."""
        document = _document(body) if status in {200, 201} else {}  # a 202 is provisional
        payment = (document.get("payment") or {}).get("id", "")
        order = document["id"] if status == 201 or payment else ""
        is_final = LastResponse(status, body=body).is_final
        digest = hashlib.sha256(body).hexdigest()
        self.lines.append(
            Received(time.monotonic(), path, key, status, is_final, digest, order, payment)
        )

    def successes(self) -> list[Received]:
        """Return the acknowledgements: what the customers rely on."""
        return [line for line in self.lines if line.order]

    def silence_seconds(self, since: float) -> float:
        """Return the longest time without a success from a moment on."""
        times = [since, *(line.at for line in self.successes() if line.at > since)]
        return max((after - before for before, after in pairwise(times)), default=0.0)

    def contradictions(self) -> int:
        """Return how many keys got two different final responses."""
        finals: dict[str, set[tuple[int, str]]] = defaultdict(set)
        for line in self.lines:
            if line.is_final and line.status < 500:
                finals[line.key].add((line.status, line.digest))
        return sum(len(different) > 1 for different in finals.values())


class JournallingClient(HttpClient):
    """Writes down every response, those too that it retries."""

    journal: Journal

    def _send_once(
        self, method: str, path: str, headers: dict[str, str], body: str | None
    ) -> tuple[int, Mapping[str, str], bytes]:
        status, received, content = super()._send_once(method, path, headers, body)
        if key := headers.get("Idempotency-Key", ""):
            self.journal.note(path, key, status, content)
        return status, received, content


class Storm:
    """Customers at work, from the first line of a block to its last.

    :ivar unfinished: requests that never got a final response
    """

    def __init__(self, url: str, payments_url: str, *, password: str) -> None:
        self.journal = Journal()
        self.client = JournallingClient(
            url, connections=CUSTOMERS * DUPLICATES, retry_seconds=RETRY_SECONDS_MAX
        )
        self.client.journal = self.journal
        self.unfinished = 0
        self._over = threading.Event()
        payments = HttpClient(payments_url, connections=1)
        customer = shop_client.DemoCustomer(
            *(shop_client.sign_in(each, CUSTOMER, password) for each in (self.client, payments))
        )
        accounts = shop_client.accounts_of(payments, customer)
        self._account = next(each for each in accounts if each.currency == "EUR")
        products = self.client.items("products/")
        self._sku = next(each["sku"] for each in products if each["currency"] == "EUR")
        self._threads = [threading.Thread(target=self._buy) for _ in range(CUSTOMERS)]

    def __enter__(self) -> "Storm":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Have the customers finish what they have begun."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _buy(self) -> None:
        with ThreadPoolExecutor(DUPLICATES) as hands:
            while not self._over.is_set():
                if (order := self._place(hands)) is not None:
                    self._pay(hands, order)

    def _place(self, hands: ThreadPoolExecutor) -> str | None:
        content, key = {"lines": [{"sku": self._sku, "quantity": 1}]}, str(uuid4())
        placed = self._send(hands, "orders/", content, [key, key])
        return next(
            (str(_document(each.body)["id"]) for each in placed if each.status == 201), None
        )

    def _pay(self, hands: ThreadPoolExecutor, order: str) -> None:
        one = str(uuid4())
        keys = [one if number % 2 else str(uuid4()) for number in range(DUPLICATES)]
        random.shuffle(keys)
        self._send(hands, f"orders/{order}/pay/", {"account": self._account.id}, keys)

    def _send(
        self, hands: ThreadPoolExecutor, path: str, content: object, keys: list[str]
    ) -> list[LastResponse]:
        token = self._account.customer.token
        sent = [
            hands.submit(self.client.send, "POST", path, token=token, key=key, content=content)
            for key in keys
        ]
        received = [each.result() for each in sent]
        self.unfinished += sum(not each.is_final for each in received)
        return received


def _document(body: bytes) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(body)
    return document
