"""Impatient customers: the same payment requested many times over HTTP, and what was charged."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from itertools import chain, cycle, islice
from threading import Barrier

from django.conf import settings

from demo.seed import CUSTOMERS
from simulator import shop_client
from simulator.chaos import LOST_RESPONSES
from simulator.http_client import HttpClient, LastResponse, ServerUnusable
from simulator.results import PlanResult, Traffic, result_of
from simulator.scenarios import ClickPlan, is_paid
from simulator.shop_client import DemoAccount, DemoCustomer, DemoOrder

CURRENCY = "EUR"
BALANCE_MIN = 1_000_000  # of a customer who takes part, in minor units
GATE_SECONDS_MAX = 150  # longer than a click retries
PAUSING = 10  # clicks, for each that is in flight

Click = tuple[DemoOrder, "Future[LastResponse]"]
Responses = dict[DemoOrder, list[LastResponse]]


@dataclass(frozen=True)
class Servers:
    """The order system, the payment system, which may be the same, and the proxy before that."""

    orders: HttpClient
    payments: HttpClient
    chaos: HttpClient | None = None


@dataclass(frozen=True)
class Load:
    """The number of orders, of clicks on each, and of clicks in flight at once."""

    orders: int
    clicks: int
    concurrency: int


class Simulation:
    """Demo customers who all buy the cheapest product.

    :raises ServerUnusable: a server can't be reached, or lacks the demo's data
    """

    def __init__(self, servers: Servers, load: Load, *, advance: Callable[[], object]) -> None:
        self.servers, self.load, self.advance = servers, load, advance
        for client in (servers.orders, servers.payments):
            if not client.warm():
                url = client.base_url
                raise ServerUnusable(f"No server responds at {url}. Start one: make serve")
        rich = [c for c in CUSTOMERS if c.opening_balances.get(CURRENCY, 0) >= BALANCE_MIN]
        self.customers = [self._sign_in(customer.username) for customer in rich]
        self.sku = self._cheapest_product()

    def run(self, plan: ClickPlan) -> PlanResult:
        """Place new orders, click on them, then read from the servers what they charged."""
        before, passed = self._read_accounts(), self._read_traffic()
        responses = self._click_on_new_orders(plan, before)
        entries = partial(shop_client.entries_since, self.servers.payments)
        charges = Counter(entry["order_id"] for each in before for entry in entries(each))
        spent = sum(account.balance for account in before)
        spent -= sum(account.balance for account in self._read_accounts())
        due = sum(order.amount for order, received in responses.items() if is_paid(received))
        charges_by_order = [charges[order.id] for order in responses]
        result = result_of(plan, responses, charges=charges_by_order, money_missing=spent - due)
        if passed is None:
            return result
        return result.with_traffic(passed, self._read_traffic() or passed)

    def _click_on_new_orders(self, plan: ClickPlan, accounts: Sequence[DemoAccount]) -> Responses:
        server, count = self.servers.orders, self.load.orders
        payers = cycle([account for account in accounts if account.currency == CURRENCY])
        with ThreadPoolExecutor(self._threads()) as threads:
            place = partial(shop_client.place_order, server, sku=self.sku)
            orders = list(threads.map(place, islice(payers, count)))
            try:
                clicks = list(chain.from_iterable(self._batches(threads, plan, orders)))
                wait([click for _, click in clicks])
            except KeyboardInterrupt:
                server.give_up()  # the end of the threads waits for all clicks
                raise
        if not any(click.result().status for _, click in clicks) and not server.warm():
            raise ServerUnusable(f"The server at {server.base_url} has stopped responding.")
        responses: Responses = {order: [] for order in orders}
        for order, click in clicks:
            responses[order].append(click.result())
        return responses

    def _threads(self) -> int:
        """Return how many threads click: most of them pause before a retry."""
        return max(
            self.load.concurrency,
            min(self.load.orders * self.load.clicks, PAUSING * self.load.concurrency),
        )

    def _batches(
        self, threads: Executor, plan: ClickPlan, orders: Sequence[DemoOrder]
    ) -> Iterator[list[Click]]:
        """Click on as many orders at once as may be in flight, wave after wave of their clicks.

        A batch begins once each click of the last one has a response. Where that is no final one,
        its retries go on meanwhile.
        """
        at_once = min(plan.at_once or self.load.clicks, self.load.concurrency)
        together = self.load.concurrency // at_once
        for first in range(0, len(orders), together):
            keys = {
                order: plan.keys(self.load.clicks) for order in orders[first : first + together]
            }
            for start in range(0, self.load.clicks, at_once):
                wave = {order: own[start : start + at_once] for order, own in keys.items()}
                clicks = self._click_together(threads, plan, wave)
                if start + at_once < self.load.clicks:
                    wait([click for _, click in clicks])
                yield clicks

    def _click_together(
        self, threads: Executor, plan: ClickPlan, wave: Mapping[DemoOrder, Sequence[str]]
    ) -> list[Click]:
        """Click once for each key; all clicks leave at the same instant."""
        server = self.servers.orders
        clicks = [(order, key) for order, keys in wave.items() for key in keys]
        gate = Barrier(len(clicks) + 1, timeout=GATE_SECONDS_MAX)
        with server.quiet():
            server.warm()
            sent = [
                (order, threads.submit(self._click, plan, order, key, gate))
                for order, key in clicks
            ]
            try:
                gate.wait()
            except KeyboardInterrupt:
                gate.abort()
                raise
        return sent

    def _click(self, plan: ClickPlan, order: DemoOrder, key: str, gate: Barrier) -> LastResponse:
        gate.wait()
        response = plan.click(self.servers.orders, order, key)
        self.advance()
        return response

    def _sign_in(self, name: str) -> DemoCustomer:
        token = shop_client.sign_in(self.servers.orders, name, settings.DEMO_PASSWORD)
        if self.servers.payments is self.servers.orders:
            return DemoCustomer(token, token)
        password = settings.DEMO_PASSWORD
        return DemoCustomer(token, shop_client.sign_in(self.servers.payments, name, password))

    def _cheapest_product(self) -> str:
        server = self.servers.orders
        products = server.items("products/")
        prices = {p["price"]: p["sku"] for p in products if p["currency"] == CURRENCY}
        if not prices:
            raise ServerUnusable(f"{server.base_url} sells nothing. Run: manage.py seed_demo")
        sku: str = prices[min(prices)]
        return sku

    def _read_accounts(self) -> list[DemoAccount]:
        read = partial(shop_client.accounts_of, self.servers.payments)
        accounts = list(chain.from_iterable(map(read, self.customers)))
        if CURRENCY not in {account.currency for account in accounts}:
            raise ServerUnusable("The customers have no account. Run: manage.py seed_demo")
        return accounts

    def _read_traffic(self) -> Traffic | None:
        """Return what has passed the proxy so far; None where there is no proxy."""
        proxy = self.servers.chaos
        if proxy is None:
            return None
        counts = proxy.request_json("GET", "/chaos")
        try:
            lost = sum(counts["happened"].get(fault, 0) for fault in LOST_RESPONSES)
            return Traffic(counts["requests"], lost, counts["reached"])
        except LookupError:
            raise ServerUnusable(f"{proxy.base_url} is no proxy that counts.") from None
