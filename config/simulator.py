"""Impatient customers: the same payment asked for again and again over HTTP, and what came of it.

A scenario is a tuple of plans, each a row of the table. To add one, add it to SCENARIOS: what a
click sends, under which keys, how many at once and what must come back is the plan's to say.
"""

import math
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, takewhile
from threading import Barrier
from typing import Any

from django.conf import settings

from config.demo import CUSTOMERS
from config.http_client import Answer, Client, ServerUnusable

CURRENCY = "EUR"
RICH = 1_000_000
ORDER_PAID = 2
GATE_SECONDS = 30


@dataclass(frozen=True)
class Load:
    """How many orders, how many clicks on each, and how many clicks are in flight at once."""

    orders: int
    clicks: int
    concurrency: int


@dataclass(frozen=True)
class Order:
    id: str
    amount: int
    account: int
    token: str


def pay(client: Client, order: Order, key: str) -> Answer:
    content = {"account": order.account}
    path = f"orders/{order.id}/pay/"
    return client.send("POST", path, token=order.token, key=key, content=content)


def new_key() -> str:
    return str(uuid.uuid4())


def one_key(clicks: int) -> list[str]:
    return [new_key()] * clicks


def a_key_each(clicks: int) -> list[str]:
    return [new_key() for _ in range(clicks)]


def all_the_same(answers: Sequence[Answer]) -> int:
    """Count the answers to one key that are not 200 or differ from the first one by a byte."""
    first = min(answers, key=lambda answer: answer.finished)
    return sum(answer.status != 200 or answer.body != first.body for answer in answers)


def one_pays(answers: Sequence[Answer]) -> int:
    """Count the answers to different keys that can't be: one click pays, the others are told so.

    A click that was told 202, already paying, may end in 200 as well: its key awaits the outcome.
    """
    paid = [answer for answer in answers if answer.status == 200]
    told = sum(answer.problem == "order-already-paid" for answer in answers)
    outright = sum(not answer.accepted for answer in paid)
    return len(answers) - len(paid) - told + max(outright - 1, 0)


@dataclass(frozen=True)
class Plan:
    """A row: what the clicks on an order send, and how many of its answers break the promise."""

    row: str
    keys: Callable[[int], list[str]]
    count_broken: Callable[[Sequence[Answer]], int]
    at_once: int | None = None  # clicks on one order; None is as many as may be in flight
    click: Callable[[Client, Order, str], Answer] = pay


SCENARIOS = {
    "double_click": (
        Plan("same key", one_key, all_the_same),
        Plan("a key per click (two tabs)", a_key_each, one_pays),
    ),
    "back_and_resubmit": (Plan("same key, after the answer", one_key, all_the_same, at_once=1),),
}


@dataclass(frozen=True)
class Row:
    """What came of a plan; money in minor units, positive where customers have too little."""

    row: str
    orders: int
    clicks: int
    answers: dict[str, int]
    replays: int
    retries: int
    charges: int
    double_charges: int
    money_missing: int
    different_answers: int
    unanswered: int
    p50_ms: float
    p99_ms: float

    @property
    def ok(self) -> bool:
        broken = self.double_charges, self.money_missing, self.different_answers, self.unanswered
        return not any(broken)


@dataclass(frozen=True)
class Customer:
    """A demo customer who is signed in, and the books of all accounts as they were then."""

    client: Client
    token: str

    def accounts(self) -> list[dict[str, Any]]:
        return list(self.client.items("accounts/", token=self.token))

    ...
