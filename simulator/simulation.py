"""Impatient customers: the same payment asked for again and again over HTTP, and what came of it.

To add a scenario, add its plans to SCENARIOS. Each is a row of the table and says what a click
sends, with which keys, how many clicks leave at once and which answers break the promise.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, cycle, islice
from threading import Barrier
from uuid import uuid4

from django.conf import settings

from demo.seed import CUSTOMERS
from simulator import client as shop
from simulator.chaos import LOST_ANSWERS
from simulator.client import Account, Answer, Client, Customer, Order, ServerUnusable

CURRENCY = "EUR"
RICH = 1_000_000
GATE_SECONDS = 30
ALREADY_PAID = "order-already-paid"


@dataclass(frozen=True)
class Servers:
    """The order system, the payment system, which may be the same, and the proxy before that."""

    orders: Client
    payments: Client
    chaos: Client | None = None


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
    click: Callable[[Client, Order, str], Answer] = shop.pay

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
    "rpc_retry": (Plan("same key, answers lost", one_key=True, count_broken=all_the_same),),
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
    # Before the payment system, where a proxy counts: all requests, the answers that it lost, and
    # the repeats among the payments asked for that arrived.
    requests: int | None = None
    answers_lost: int | None = None
    repeats: int | None = None


@dataclass(frozen=True)
class Traffic:
    """What has passed a proxy: all requests, answers that it lost, POSTs that got to the server."""

    requests: int
    answers_lost: int
    reached: int


class Simulation:
    """Demo customers who all want the cheapest product; raises ServerUnusable if none is had."""

    def __init__(self, servers: Servers, load: Load, *, advance: Callable[[], object]) -> None:
        self.servers, self.load, self.advance = servers, load, advance
        for client in (servers.orders, servers.payments):
            if not client.warm():
                raise ServerUnusable(
                    f"No server answers at {client.base_url}. Start one: make serve"
                )
        names = [c.username for c in CUSTOMERS if c.opening_balances.get(CURRENCY, 0) >= RICH]
        self.customers = [self._sign_in(name) for name in names]
        products = servers.orders.items("products/")
        prices = {p["price"]: p["sku"] for p in products if p["currency"] == CURRENCY}
        if not prices:
            raise ServerUnusable(
                f"{servers.orders.base_url} sells nothing. Run: manage.py seed_demo"
            )
        self.sku = prices[min(prices)]

    def run(self, plan: Plan) -> Row:
        """Place new orders, click on them, then ask the servers what they charged."""
        before, passed = self._accounts(), self._passed()
        answers = self._click_on_new_orders(plan, before)
        entries = partial(shop.entries_since, self.servers.payments)
        charges = Counter(entry["order_id"] for each in before for entry in entries(each))
        spent = sum(account.balance for account in before)
        spent -= sum(account.balance for account in self._accounts())
        due = sum(order.amount for order, given in answers.items() if is_paid(given))
        row = _row(plan, answers, [charges[order.id] for order in answers], spent - due)
        return row if passed is None else self._with_traffic(row, passed)

    def _click_on_new_orders(
        self, plan: Plan, accounts: Sequence[Account]
    ) -> dict[Order, list[Answer]]:
        payers = cycle([account for account in accounts if account.currency == CURRENCY])
        with ThreadPoolExecutor(self.load.concurrency) as threads:
            place = partial(shop.place_order, self.servers.orders, sku=self.sku)
            orders = list(threads.map(place, islice(payers, self.load.orders)))
            answers: dict[Order, list[Answer]] = {order: [] for order in orders}
            for wave in self._waves(plan, orders):
                for order, answer in self._click_together(threads, plan, wave):
                    answers[order].append(answer)
        return answers

    def _waves(self, plan: Plan, orders: Sequence[Order]) -> Iterator[dict[Order, list[str]]]:
        """Yield which keys to click with at once, for as many orders as may be in flight."""
        at_once = min(plan.at_once or self.load.clicks, self.load.concurrency)
        together = self.load.concurrency // at_once
        for first in range(0, len(orders), together):
            batch = orders[first : first + together]
            keys = {order: plan.keys(self.load.clicks) for order in batch}
            for start in range(0, self.load.clicks, at_once):
                yield {order: keys[order][start : start + at_once] for order in batch}

    def _click_together(
        self, threads: Executor, plan: Plan, wave: Mapping[Order, Sequence[str]]
    ) -> list[tuple[Order, Answer]]:
        """Click once for each key; an order's clicks leave at the same instant."""
        server = self.servers.orders
        server.warm()
        clicks: dict[Future[Answer], Order] = {}
        for order, keys in wave.items():
            gate = Barrier(len(keys), timeout=GATE_SECONDS)
            clicks |= {threads.submit(self._click, plan, order, key, gate): order for key in keys}
        try:
            for _ in as_completed(clicks):
                self.advance()
        except KeyboardInterrupt:
            server.give_up()  # the end of the threads waits for all clicks
            raise
        if not any(click.result().status for click in clicks) and not server.warm():
            raise ServerUnusable(f"The server at {server.base_url} has stopped answering.")
        return [(order, click.result()) for click, order in clicks.items()]

    def _click(self, plan: Plan, order: Order, key: str, gate: Barrier) -> Answer:
        gate.wait()
        return plan.click(self.servers.orders, order, key)

    def _sign_in(self, name: str) -> Customer:
        token = shop.sign_in(self.servers.orders, name, settings.DEMO_PASSWORD)
        if self.servers.payments is self.servers.orders:
            return Customer(token, token)
        return Customer(token, shop.sign_in(self.servers.payments, name, settings.DEMO_PASSWORD))

    def _accounts(self) -> list[Account]:
        find = partial(shop.accounts, self.servers.payments)
        found = list(chain.from_iterable(map(find, self.customers)))
        if CURRENCY not in {account.currency for account in found}:
            raise ServerUnusable("The customers have no account. Run: manage.py seed_demo")
        return found

    def _passed(self) -> Traffic | None:
        """Return what has passed the proxy so far; None where there is no proxy."""
        proxy = self.servers.chaos
        if proxy is None:
            return None
        said = proxy.ask("GET", "/chaos")
        try:
            lost = sum(said["happened"].get(fault, 0) for fault in LOST_ANSWERS)
            return Traffic(said["requests"], lost, said["reached"])
        except LookupError:
            raise ServerUnusable(f"{proxy.base_url} is no proxy that counts.") from None

    def _with_traffic(self, row: Row, before: Traffic) -> Row:
        now = self._passed() or before
        return replace(
            row,
            requests=now.requests - before.requests,
            answers_lost=now.answers_lost - before.answers_lost,
            repeats=max(now.reached - before.reached - row.orders, 0),
        )


def _row(
    plan: Plan, answers: Mapping[Order, list[Answer]], charges: Sequence[int], missing: int
) -> Row:
    every = list(chain.from_iterable(answers.values()))
    decided = [[answer for answer in given if answer.final] for given in answers.values()]
    final = list(chain.from_iterable(decided))
    times = sorted(1000 * (answer.finished - answer.started) for answer in final)
    return Row(
        row=plan.row,
        orders=len(answers),
        clicks=len(every),
        answers={str(status): n for status, n in sorted(Counter(a.status for a in final).items())},
        replays=sum(a.headers.get("Idempotent-Replayed") == "true" for a in final),
        retries=sum(answer.retries for answer in every),
        charges=sum(charges),
        double_charges=sum(count > 1 for count in charges),
        money_missing=missing,
        different_answers=sum(plan.count_broken(given) for given in decided if given),
        unanswered=len(every) - len(final),
        p50_ms=_percentile(times, 50),
        p99_ms=_percentile(times, 99),
    )


def _percentile(ordered: Sequence[float], percent: int) -> float:
    """Return the smallest time that so many percent do not exceed; 0 where there is none."""
    return round(ordered[math.ceil(len(ordered) * percent / 100) - 1], 1) if ordered else 0.0
