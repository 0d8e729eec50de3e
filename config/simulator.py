"""Impatient customers: the same payment asked for again and again over HTTP, and what came of it.

A scenario is a tuple of plans, each a row of the table. To add one, add it to SCENARIOS: what a
click sends, under which keys, how many at once and what must come back is the plan's to say.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from itertools import chain, cycle, islice
from threading import Barrier
from uuid import uuid4

from django.conf import settings

from config.demo import CUSTOMERS
from config.http_client import (
    Account,
    Answer,
    Client,
    Order,
    ServerUnusable,
    accounts,
    entries_since,
    pay,
    place_order,
)

CURRENCY = "EUR"
RICH = 1_000_000
GATE_SECONDS = 30
ALREADY_PAID = "order-already-paid"


@dataclass(frozen=True)
class Load:
    """How many orders, how many clicks on each, and how many clicks are in flight at once."""

    orders: int
    clicks: int
    concurrency: int


def is_paid(answers: Sequence[Answer]) -> bool:
    """Return whether anybody was told that the order is paid."""
    return any(a.status == 200 or a.problem == ALREADY_PAID for a in answers)


def all_the_same(answers: Sequence[Answer]) -> int:
    """Count the answers to one key that are not 200 or differ from the first one by a byte."""
    first = min(answers, key=lambda answer: answer.finished)
    return sum(answer.status != 200 or answer.body != first.body for answer in answers)


def one_pays(answers: Sequence[Answer]) -> int:
    """Count the answers to different keys that can't be: one click pays, the others are told so.

    A click that was told 202, already paying, may end in 200 as well: its key awaits the outcome.
    """
    paid = [answer for answer in answers if answer.status == 200]
    told = sum(answer.problem == ALREADY_PAID for answer in answers)
    outright = sum(not answer.accepted for answer in paid)
    return len(answers) - len(paid) - told + max(outright - 1, 0)


@dataclass(frozen=True)
class Plan:
    """A row: what the clicks on an order send, and how many of its answers break the promise."""

    row: str
    one_key: bool  # for all clicks on an order; else each has its own
    count_broken: Callable[[Sequence[Answer]], int]
    at_once: int | None = None  # clicks on an order; None is as many as may be in flight
    click: Callable[[Client, Order, str], Answer] = pay

    def keys(self, clicks: int) -> list[str]:
        keys = [str(uuid4()) for _ in range(clicks)]
        return keys[:1] * clicks if self.one_key else keys


SCENARIOS = {
    "double_click": (
        Plan("same key", one_key=True, count_broken=all_the_same),
        Plan("a key per click (two tabs)", one_key=False, count_broken=one_pays),
    ),
    "back_and_resubmit": (
        Plan("same key, after the answer", one_key=True, count_broken=all_the_same, at_once=1),
    ),
}


@dataclass(frozen=True)
class Row:
    """What came of a plan; money in minor units, times in ms from the gate to the final answer."""

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


class Simulation:
    """Demo customers, signed in to a server, who all want its cheapest product.

    :raises ServerUnusable: here and in `run`, if the server can't serve them at all
    """

    def __init__(self, client: Client, load: Load, *, advance: Callable[[], object]) -> None:
        self.client, self.load, self.advance = client, load, advance
        if not client.warm():
            raise ServerUnusable(f"No server answers at {client.base_url}. Start one: make serve")
        names = [c.username for c in CUSTOMERS if c.opening_balances.get(CURRENCY, 0) >= RICH]
        self.tokens = [_sign_in(client, name) for name in names]
        products = [p for p in client.items("products/") if p["currency"] == CURRENCY]
        self.sku = min(products, key=lambda product: product["price"])["sku"]

    def run(self, plan: Plan) -> Row:
        """Place new orders, click on them, then ask the server what it charged."""
        before = self._accounts()
        payers = cycle([account for account in before if account.currency == CURRENCY])
        with ThreadPoolExecutor(self.load.concurrency) as threads:
            order = partial(place_order, self.client, sku=self.sku)
            orders = list(threads.map(order, islice(payers, self.load.orders)))
            answers = self._storm(threads, plan, orders)
        written = chain.from_iterable(entries_since(self.client, account) for account in before)
        charges = Counter(entry["order_id"] for entry in written)
        spent = _total(before) - _total(self._accounts())
        due = sum(order.amount for order in orders if is_paid(answers[order]))
        return _row(plan, answers, [charges[order.id] for order in orders], spent - due)

    def _storm(
        self, threads: Executor, plan: Plan, orders: Sequence[Order]
    ) -> dict[Order, list[Answer]]:
        """Click on pay, wave after wave; return each order's answers."""
        answers: dict[Order, list[Answer]] = {order: [] for order in orders}
        at_once = min(plan.at_once or self.load.clicks, self.load.concurrency)
        for batch in _slices(orders, self.load.concurrency // at_once):
            keys = {order: plan.keys(self.load.clicks) for order in batch}
            for start in range(0, self.load.clicks, at_once):
                wave = {order: keys[order][start : start + at_once] for order in batch}
                for order, answer in self._click_together(threads, plan, wave):
                    answers[order].append(answer)
        return answers

    def _click_together(
        self, threads: Executor, plan: Plan, wave: Mapping[Order, Sequence[str]]
    ) -> list[tuple[Order, Answer]]:
        """Click once for each key; an order's clicks leave at the same instant."""
        self.client.warm()
        clicks: dict[Future[Answer], Order] = {}
        for order, keys in wave.items():
            gate = Barrier(len(keys), timeout=GATE_SECONDS)
            clicks |= {threads.submit(self._click, plan, order, key, gate): order for key in keys}
        for _ in as_completed(clicks):
            self.advance()
        if not any(click.result().status for click in clicks):
            raise ServerUnusable(f"The server at {self.client.base_url} has stopped answering.")
        return [(order, click.result()) for click, order in clicks.items()]

    def _click(self, plan: Plan, order: Order, key: str, gate: Barrier) -> Answer:
        gate.wait()
        return plan.click(self.client, order, key)

    def _accounts(self) -> list[Account]:
        return [account for token in self.tokens for account in accounts(self.client, token=token)]


def _sign_in(client: Client, username: str) -> str:
    content = {"username": username, "password": settings.DEMO_PASSWORD}
    token: str = client.ask("POST", "sign-in/", content=content)["token"]
    return token


def _slices(items: Sequence[Order], size: int) -> Iterator[Sequence[Order]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _total(accounts: Iterable[Account]) -> int:
    return sum(account.balance for account in accounts)


def _row(
    plan: Plan, answers: Mapping[Order, list[Answer]], charges: Sequence[int], missing: int
) -> Row:
    final = [[answer for answer in given if answer.final] for given in answers.values()]
    flat = list(chain.from_iterable(final))
    every = list(chain.from_iterable(answers.values()))
    times = sorted(1000 * (answer.finished - answer.started) for answer in flat)
    return Row(
        row=plan.row,
        orders=len(answers),
        clicks=len(every),
        answers={str(status): n for status, n in sorted(Counter(a.status for a in flat).items())},
        replays=sum(answer.replayed for answer in flat),
        retries=sum(answer.retries for answer in every),
        charges=sum(charges),
        double_charges=sum(count > 1 for count in charges),
        money_missing=missing,
        different_answers=sum(plan.count_broken(given) for given in final if given),
        unanswered=len(every) - len(flat),
        p50_ms=_percentile(times, 50),
        p99_ms=_percentile(times, 99),
    )


def _percentile(ordered: Sequence[float], percent: int) -> float:
    """Return the smallest time that so many percent do not exceed; 0 where there is none."""
    return round(ordered[math.ceil(len(ordered) * percent / 100) - 1], 1) if ordered else 0.0
