"""The scenarios, each played the same way with every mechanism, by real processes."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from itertools import count
from secrets import randbelow
from typing import Any
from uuid import uuid4

import urllib3
from django.db import connection

from lab import mechanisms
from lab.harness.bank import Click
from lab.harness.cluster import Stage
from lab.harness.scheduler import Director, LabBroken

PRICE = 100
PLENTY = 1000 * PRICE
ONE_MORE = -1  # SET col = col + 1, as a payment
PATIENT_LEASE, SHORT_LEASE = 30.0, 0.3  # seconds
BLOCKED = """
SELECT count(*) FROM pg_stat_activity WHERE application_name = %s AND wait_event_type = 'Lock'"""

_accounts = count(randbelow(2**30))


@dataclass(frozen=True)
class Answer:
    """What a click was told: HTTP status (None: nothing came back), text, and when, in seconds."""

    page: Click
    shop: int
    status: int | None
    text: str
    sent: float
    received: float
    statements: int = 0
    seconds: float = 0.0  # in the mechanism


class Scene:
    """A mechanism, an account with an opening balance, and the clicks on the account's pages."""

    def __init__(
        self, stage: Stage, mechanism: str, director: Director, *, clicks: int, opening: int
    ) -> None:
        self.stage, self.mechanism, self.director = stage, mechanism, director
        self.clicks, self.opening = clicks, opening
        self.account = next(_accounts)
        self._sent: list[Future[Answer]] = []
        with stage.tables_of(mechanism) as cursor:
            cursor.execute("INSERT INTO account VALUES (%s, %s)", [self.account, opening])

    def page(
        self,
        *,
        of: Click | None = None,
        amount: int = PRICE,
        lease: float = PATIENT_LEASE,
        shop: int = 0,
    ) -> Click:
        """Load the page of a new order, or another page of the same order."""
        page = Click(
            order=of.order if of else str(uuid4()),
            account=self.account,
            amount=amount,
            balance_after=self.opening - amount if amount > 0 else None,
            request_id=str(uuid4()),
            token="",
            lease=lease,
        )
        mechanism = mechanisms.load(self.mechanism)
        if of is None and hasattr(mechanism, "ORDER"):
            with self.stage.tables_of(self.mechanism) as cursor:
                cursor.execute(mechanism.ORDER, vars(page))
        if not hasattr(mechanism, "issue"):
            return page
        issued = self._post(page, "issue", shop=shop)
        if issued.status != 200:
            raise LabBroken(f"{self.mechanism} issued no token: {issued.text}")
        return replace(page, token=issued.text)

    def click(
        self, page: Click, *, shop: int, at: dict[str, str] | None = None, retries: int = 0
    ) -> int:
        """Click on a page's button, without waiting for the answer; return the click's number.

        :param at: what the director shall do when the click comes to a fault point
        :param retries: how often the HTTP client sends the request again where no answer came
        """
        number = len(self._sent)
        for point, what in (at or {}).items():
            self.director.order(number, point, what)
        self.director.note("sent", click=number, order=page.order, shop=shop)
        watch = {"Lab-Watch": f"{self.director.port}/{number}"}
        again = urllib3.Retry(total=retries, allowed_methods=None) if retries else False
        self._sent.append(
            self.stage.threads.submit(
                self._clicked, number, page, shop=shop, headers=watch, retries=again
            )
        )
        return number

    def undisturbed(self) -> Answer:
        """Pay on a new page without being watched by the director, which would take time."""
        return self._post(self.page(), "pay", shop=0)

    def is_answered(self, number: int) -> bool:
        return self._sent[number].done()

    def answers(self) -> list[Answer]:
        """Wait for all clicks to end; return what each was told, in the order of clicking."""
        self.director.until(
            lambda: all(click.done() for click in self._sent),
            f"{self.mechanism}: everybody is answered",
        )
        return [click.result() for click in self._sent]

    def stand_still(self, *clicks: int, outlast_leases: bool = False) -> None:
        """Wait until each of some clicks is held, waits for a lock, or has its answer.

        :param outlast_leases: who waits for a lock that expires does not count as standing still
        """

        def all_stand() -> bool:
            # Blocked ones first: counted too often if at all, and no lock is given up while its
            # holder is held.
            blocked = self._blocked()
            standing = self.director.held | {click for click in clicks if self.is_answered(click)}
            if not outlast_leases:
                standing |= self.director.waiting
            return len(standing.intersection(clicks)) + blocked >= len(clicks)

        self.director.until(all_stand, f"{self.mechanism}: everybody stands still")

    def charges(self) -> float:
        """Return how often the account was really charged, by its balance."""
        with self.stage.tables_of(self.mechanism) as cursor:
            cursor.execute("SELECT balance FROM account WHERE id = %s", [self.account])
            (balance,) = cursor.fetchone()
        return float(self.opening - balance) / self._sent[0].result().page.amount

    def _blocked(self) -> int:
        with connection.cursor() as cursor:
            cursor.execute(BLOCKED, [self.stage.run.prefix])
            blocked: int = cursor.fetchone()[0]
            return blocked

    def _clicked(self, number: int, page: Click, **options: Any) -> Answer:
        answer = self._post(page, "pay", **options)
        self.director.note("told", click=number, status=answer.status, text=answer.text)
        return answer

    def _post(self, page: Click, verb: str, *, shop: int, **options: Any) -> Answer:
        url = f"{self.stage.shops[shop].url}/{self.mechanism}/{verb}"
        fields = {name: value for name, value in vars(page).items() if name != "http"}
        key = {"Idempotency-Key": page.request_id, "Prefer": "wait=30"}
        options = {"retries": False} | options | {"headers": options.get("headers", {}) | key}
        sent = time.perf_counter()
        try:
            answer = self.stage.http.request("POST", url, json=fields, timeout=90, **options)
        except urllib3.exceptions.HTTPError as error:
            return Answer(page, shop, None, str(error), sent, time.perf_counter())
        said = answer.json()
        return Answer(page, shop, answer.status, received=time.perf_counter(), sent=sent, **said)


def double_click(scene: Scene) -> None:
    _together(scene, [scene.page()] * scene.clicks)


def two_tabs(scene: Scene) -> None:
    first = scene.page()
    others = [scene.page(of=first, shop=number % 2) for number in range(1, scene.clicks)]
    _together(scene, [first, *others])


def back_and_resubmit(scene: Scene) -> None:
    page = scene.page()
    for number in range(scene.clicks):
        scene.click(page, shop=number % 2)
        scene.answers()


def rpc_retry(scene: Scene) -> None:
    lost = scene.clicks - 1
    scene.director.order(0, "answered", "drop", times=lost)
    scene.click(scene.page(), shop=0, retries=lost)
    scene.answers()
    if scene.director.carried_out != ["drop"] * lost:
        raise LabBroken(f"{scene.mechanism}: the answers were to be lost, and were not")


def crash_before_commit(scene: Scene) -> None:
    _crash(scene, "before-commit")


def crash_after_commit(scene: Scene) -> None:
    _crash(scene, "after-commit")


def slow_owner(scene: Scene) -> None:
    page, stay = scene.page(lease=SHORT_LEASE), {"looked": "hold", "before-commit": "hold"}
    owner = scene.click(page, shop=0, at=stay)
    scene.stand_still(owner)
    repeat = scene.click(page, shop=1, at=stay)
    scene.stand_still(owner, repeat, outlast_leases=True)
    scene.director.release(owner)
    scene.stand_still(owner, repeat)
    scene.director.release(repeat)


def two_orders_one_balance(scene: Scene) -> None:
    _together(scene, [scene.page(), scene.page(shop=1)])


def increment(scene: Scene) -> None:
    _together(scene, [scene.page(amount=ONE_MORE)] * scene.clicks)


def _together(scene: Scene, pages: Sequence[Click]) -> None:
    """Click on all pages at the same instant; nobody acts before everybody has looked."""
    stay = {"arrived": "hold", "looked": "hold"}
    clicks = [scene.click(page, shop=number % 2, at=stay) for number, page in enumerate(pages)]
    scene.stand_still(*clicks)
    scene.director.go_on(*clicks)
    scene.stand_still(*clicks)
    scene.director.release(*clicks)


def _crash(scene: Scene, point: str) -> None:
    """Kill the shop at a point; the customer clicks again and is served by the other one."""
    page = scene.page(lease=SHORT_LEASE)
    scene.click(page, shop=0, at={point: "kill"})
    scene.answers()
    scene.stage.replace_killed(0)
    scene.click(page, shop=1)


@dataclass(frozen=True)
class Scenario:
    """How a scenario is played, and what it is about."""

    play: Callable[[Scene], None]
    about: str
    opening: int = PLENTY  # minor units
    amount: int = PRICE  # likewise, of a click
    clicks: int | None = None  # where it has so many, whatever was asked for


SCENARIOS = {
    scenario.play.__name__: scenario
    for scenario in (
        Scenario(double_click, "N clicks on one page at the same instant"),
        Scenario(back_and_resubmit, "the page's form sent N times, each after the last answer"),
        Scenario(two_tabs, "one order open in N tabs, a click in each at the same instant"),
        Scenario(rpc_retry, "the answer is lost after the commit, and the client library retries"),
        Scenario(
            crash_before_commit, "the process is killed before its commit; one more click", clicks=2
        ),
        Scenario(
            crash_after_commit, "the process is killed after its commit; one more click", clicks=2
        ),
        Scenario(
            slow_owner,
            "the first click stands still until its lock has expired; a repeat",
            clicks=2,
        ),
        Scenario(
            two_orders_one_balance,
            "two orders at the same instant, money for one",
            opening=PRICE,
            clicks=2,
        ),
        Scenario(
            increment, "a double click on a page that says SET col = col + 1", amount=ONE_MORE
        ),
    )
}
