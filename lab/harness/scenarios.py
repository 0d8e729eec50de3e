"""The scenarios: the same steps with every mechanism, against real server processes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lab.harness.bank import PayClick
from lab.harness.scenario_run import PLENTY, PRICE, SHORT_LEASE_SECONDS, ScenarioRun
from lab.harness.scheduler import LabError

ONE_MORE = -1  # SET col = col + 1, as a payment


def double_click(run: ScenarioRun) -> None:
    _click_together(run, [run.load_page()] * run.clicks)


def two_tabs(run: ScenarioRun) -> None:
    first = run.load_page()
    others = [
        run.load_page(same_order_as=first, server=number % 2) for number in range(1, run.clicks)
    ]
    _click_together(run, [first, *others])


def back_and_resubmit(run: ScenarioRun) -> None:
    page = run.load_page()
    for number in range(run.clicks):
        run.click(page, server=number % 2)
        run.results()


def rpc_retry(run: ScenarioRun) -> None:
    lost = run.clicks - 1
    run.scheduler.schedule(0, "responded", "drop", times=lost)
    run.click(run.load_page(), server=0, retries=lost)
    run.results()
    if run.scheduler.faults != ["drop"] * lost:
        raise LabError(f"{run.mechanism}: the scheduled responses were not dropped")


def crash_before_commit(run: ScenarioRun) -> None:
    _crash(run, "before-commit")


def crash_after_commit(run: ScenarioRun) -> None:
    _crash(run, "after-commit")


def slow_owner(run: ScenarioRun) -> None:
    page = run.load_page(lease_seconds=SHORT_LEASE_SECONDS)
    hold = {"checked": "hold", "before-commit": "hold"}
    owner = run.click(page, server=0, actions=hold)
    run.wait_until_still(owner)
    duplicate = run.click(page, server=1, actions=hold)
    run.wait_until_still(owner, duplicate, outlast_leases=True)
    run.scheduler.release(owner)
    run.wait_until_still(owner, duplicate)
    run.scheduler.release(duplicate)


def two_orders_one_balance(run: ScenarioRun) -> None:
    _click_together(run, [run.load_page(), run.load_page(server=1)])


def increment(run: ScenarioRun) -> None:
    _click_together(run, [run.load_page(amount=ONE_MORE)] * run.clicks)


def _click_together(run: ScenarioRun, pages: Sequence[PayClick]) -> None:
    """Click on all pages at the same instant; no click acts before every click has checked."""
    hold = {"arrived": "hold", "checked": "hold"}
    clicks = [run.click(page, server=n % 2, actions=hold) for n, page in enumerate(pages)]
    run.wait_until_still(*clicks)
    run.scheduler.resume(*clicks)
    run.wait_until_still(*clicks)
    run.scheduler.release(*clicks)


def _crash(run: ScenarioRun, failpoint: str) -> None:
    """Kill the server at a failpoint; the customer's second click goes to the other server."""
    page = run.load_page(lease_seconds=SHORT_LEASE_SECONDS)
    run.click(page, server=0, actions={failpoint: "kill"})
    run.results()
    run.cluster.replace_killed(0)
    run.click(page, server=1)


@dataclass(frozen=True)
class Scenario:
    """A scenario: its steps, its description, and its numbers."""

    steps: Callable[[ScenarioRun], None]
    description: str
    opening_balance: int = PLENTY  # minor units
    amount: int = PRICE  # minor units a click
    clicks: int | None = None  # a fixed number, whatever was asked for


SCENARIOS = {
    scenario.steps.__name__: scenario
    for scenario in (
        Scenario(double_click, "N clicks on one page at the same instant"),
        Scenario(back_and_resubmit, "the page's form sent N times, each after the last response"),
        Scenario(two_tabs, "one order open in N tabs, a click in each at the same instant"),
        Scenario(
            rpc_retry, "the response is lost after the commit, and the client library retries"
        ),
        Scenario(
            crash_before_commit, "the process is killed before its commit; one more click", clicks=2
        ),
        Scenario(
            crash_after_commit, "the process is killed after its commit; one more click", clicks=2
        ),
        Scenario(
            slow_owner,
            "the first click stands still until its lock has expired; a duplicate arrives",
            clicks=2,
        ),
        Scenario(
            two_orders_one_balance,
            "two orders at the same instant, money for one",
            opening_balance=PRICE,
            clicks=2,
        ),
        Scenario(
            increment, "a double click on a page that says SET col = col + 1", amount=ONE_MORE
        ),
    )
}
