"""One scenario run: a mechanism, a new account, the clicks and their results."""

import time
from concurrent.futures import Future
from dataclasses import dataclass, replace
from itertools import count
from secrets import randbelow
from typing import Any
from uuid import uuid4

import urllib3
from django.db import connection

from lab import mechanisms
from lab.harness.bank import PayClick
from lab.harness.cluster import LabCluster
from lab.harness.scheduler import LabError, Scheduler

PRICE = 100  # minor units
PLENTY = 1000 * PRICE
LONG_LEASE_SECONDS, SHORT_LEASE_SECONDS = 30.0, 0.3
REQUEST_SECONDS_MAX = 90
BLOCKED = """
SELECT count(*) FROM pg_stat_activity WHERE application_name = %s AND wait_event_type = 'Lock'"""

_accounts = count(randbelow(2**30))


@dataclass(frozen=True)
class ClickResult:
    """A click's response: HTTP status (None: no response), text, and its times in seconds."""

    page: PayClick
    server: int
    status: int | None
    text: str
    sent: float
    received: float
    statements: int = 0
    seconds: float = 0.0  # in the mechanism


class ScenarioRun:
    """A mechanism, an account with an opening balance, and the clicks on the account's pages."""

    def __init__(
        self,
        cluster: LabCluster,
        mechanism: str,
        scheduler: Scheduler,
        *,
        clicks: int,
        opening_balance: int,
    ) -> None:
        self.cluster, self.mechanism, self.scheduler = cluster, mechanism, scheduler
        self.clicks, self.opening_balance = clicks, opening_balance
        self.account = next(_accounts)
        self._sent: list[Future[ClickResult]] = []
        with cluster.tables_of(mechanism) as cursor:
            cursor.execute("INSERT INTO account VALUES (%s, %s)", [self.account, opening_balance])

    def load_page(
        self,
        *,
        same_order_as: PayClick | None = None,
        amount: int = PRICE,
        lease_seconds: float = LONG_LEASE_SECONDS,
        server: int = 0,
    ) -> PayClick:
        """Load the page of a new order, or another page of the same order."""
        page = PayClick(
            order=same_order_as.order if same_order_as else str(uuid4()),
            account=self.account,
            amount=amount,
            balance_after=self.opening_balance - amount if amount > 0 else None,
            request_id=str(uuid4()),
            token="",
            lease_seconds=lease_seconds,
        )
        mechanism = mechanisms.load(self.mechanism)
        if same_order_as is None and hasattr(mechanism, "ORDER"):
            with self.cluster.tables_of(self.mechanism) as cursor:
                cursor.execute(mechanism.ORDER, vars(page))
        if not hasattr(mechanism, "issue"):
            return page
        issued = self._post(page, "issue", server=server)
        if issued.status != 200:
            raise LabError(f"{self.mechanism} issued no token: {issued.text}")
        return replace(page, token=issued.text)

    def click(
        self,
        page: PayClick,
        *,
        server: int,
        actions: dict[str, str] | None = None,
        retries: int = 0,
    ) -> int:
        """Click on a page's button without waiting for the response; return the click's number.

        :param actions: the scheduler's action at each failpoint that the click reaches
        :param retries: how often the HTTP client retries a request that got no response
        """
        number = len(self._sent)
        for failpoint, action in (actions or {}).items():
            self.scheduler.schedule(number, failpoint, action)
        self.scheduler.record("sent", click=number, order=page.order, server=server)
        headers = {"Lab-Scheduler": f"{self.scheduler.port}/{number}"}
        retry = urllib3.Retry(total=retries, allowed_methods=None) if retries else False
        self._sent.append(
            self.cluster.threads.submit(
                self._pay, number, page, server=server, headers=headers, retries=retry
            )
        )
        return number

    def pay_unscheduled(self) -> ClickResult:
        """Pay on a new page without the scheduler, which would take time."""
        return self._post(self.load_page(), "pay", server=0)

    def storm(self) -> int:
        """Click on a new page at once, with no scheduler; return how often it was charged."""
        page = self.load_page()
        sent = [
            self.cluster.threads.submit(self._post, page, "pay", server=number % 2)
            for number in range(self.clicks)
        ]
        for each in sent:
            each.result()
        return (self.opening_balance - self._balance()) // page.amount

    def is_finished(self, number: int) -> bool:
        """Return True if a click has its response, or lost it."""
        return self._sent[number].done()

    def results(self) -> list[ClickResult]:
        """Wait for all clicks to finish; return their results in the order of clicking."""
        self.scheduler.wait_until(
            lambda: all(click.done() for click in self._sent),
            f"{self.mechanism}: every click has its result",
        )
        return [click.result() for click in self._sent]

    def wait_until_still(self, *clicks: int, outlast_leases: bool = False) -> None:
        """Wait until each of some clicks is held, waits for a lock, or has its response.

        :param outlast_leases: a click that waits for a lock that expires does not count as still
        """

        def all_are_still() -> bool:
            # Blocked clicks first: one may be counted twice, never missed, and no lock is released
            # while its holder is held.
            blocked = self._count_blocked()
            still = self.scheduler.held | {click for click in clicks if self.is_finished(click)}
            if not outlast_leases:
                still |= self.scheduler.waiting
            return len(still.intersection(clicks)) + blocked >= len(clicks)

        self.scheduler.wait_until(all_are_still, f"{self.mechanism}: every click is still")

    def count_charges(self) -> float:
        """Return how often the account was really charged, by its balance."""
        return float(self.opening_balance - self._balance()) / self._sent[0].result().page.amount

    def _balance(self) -> int:
        with self.cluster.tables_of(self.mechanism) as cursor:
            cursor.execute("SELECT balance FROM account WHERE id = %s", [self.account])
            balance: int = cursor.fetchone()[0]
            return balance

    def _count_blocked(self) -> int:
        with connection.cursor() as cursor:
            cursor.execute(BLOCKED, [self.cluster.settings.prefix])
            blocked: int = cursor.fetchone()[0]
            return blocked

    def _pay(self, number: int, page: PayClick, **options: Any) -> ClickResult:
        result = self._post(page, "pay", **options)
        self.scheduler.record("received", click=number, status=result.status, text=result.text)
        return result

    def _post(self, page: PayClick, verb: str, *, server: int, **options: Any) -> ClickResult:
        url = f"{self.cluster.servers[server].url}/{self.mechanism}/{verb}"
        fields = {name: value for name, value in vars(page).items() if name != "http"}
        key = {"Idempotency-Key": page.request_id, "Prefer": "wait=30"}
        options = {"retries": False} | options | {"headers": options.get("headers", {}) | key}
        options |= {"json": fields, "timeout": REQUEST_SECONDS_MAX}
        sent = time.perf_counter()
        try:
            response = self.cluster.http.request("POST", url, **options)
        except urllib3.exceptions.HTTPError as error:
            return ClickResult(page, server, None, str(error), sent, time.perf_counter())
        body = response.json()
        received = time.perf_counter()
        return ClickResult(page, server, response.status, sent=sent, received=received, **body)
