"""Impatient customers: the same payment requested many times over HTTP, and what was charged."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, as_completed
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
GATE_SECONDS_MAX = 30

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
        payers = cycle([account for account in accounts if account.currency == CURRENCY])
        with ThreadPoolExecutor(self.load.concurrency) as threads:
            place = partial(shop_client.place_order, self.servers.orders, sku=self.sku)
            orders = list(threads.map(place, islice(payers, self.load.orders)))
            responses: Responses = {order: [] for order in orders}
            for wave in self._waves(plan, orders):
                for order, response in self._click_together(threads, plan, wave):
                    responses[order].append(response)
        return responses

    def _waves(
        self, plan: ClickPlan, orders: Sequence[DemoOrder]
    ) -> Iterator[dict[DemoOrder, list[str]]]:
        """Yield which keys to click with at once, for as many orders as may be in flight."""
        at_once = min(plan.at_once or self.load.clicks, self.load.concurrency)
        together = self.load.concurrency // at_once
        for first in range(0, len(orders), together):
            batch = orders[first : first + together]
            keys = {order: plan.keys(self.load.clicks) for order in batch}
            for start in range(0, self.load.clicks, at_once):
                yield {order: keys[order][start : start + at_once] for order in batch}

    def _click_together(
        self, threads: Executor, plan: ClickPlan, wave: Mapping[DemoOrder, Sequence[str]]
    ) -> list[tuple[DemoOrder, LastResponse]]:
        """Click once for each key; an order's clicks leave at the same instant."""
        server = self.servers.orders
        server.warm()
        clicks: dict[Future[LastResponse], DemoOrder] = {}
        for order, keys in wave.items():
            gate = Barrier(len(keys), timeout=GATE_SECONDS_MAX)
            clicks |= {threads.submit(self._click, plan, order, key, gate): order for key in keys}
        try:
            for _ in as_completed(clicks):
                self.advance()
        except KeyboardInterrupt:
            server.give_up()  # the end of the threads waits for all clicks
            raise
        if not any(click.result().status for click in clicks) and not server.warm():
            raise ServerUnusable(f"The server at {server.base_url} has stopped responding.")
        return [(order, click.result()) for click, order in clicks.items()]

    def _click(self, plan: ClickPlan, order: DemoOrder, key: str, gate: Barrier) -> LastResponse:
        gate.wait()
        return plan.click(self.servers.orders, order, key)

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
