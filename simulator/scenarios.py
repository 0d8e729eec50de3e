"""The scenarios: how impatient customers click on pay, and which responses break the promise.

To add a scenario, add its plans to SCENARIOS. Each plan is a row of the table: what a click sends,
with which keys, how many clicks leave at once, and which responses are wrong.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import uuid4

from simulator import shop_client
from simulator.http_client import HttpClient, LastResponse
from simulator.shop_client import DemoOrder

ALREADY_PAID = "order-already-paid"


def is_paid(responses: Sequence[LastResponse]) -> bool:
    """Return True if any of an order's responses means that it is paid."""
    return any(each.status == 200 or each.problem == ALREADY_PAID for each in responses)


def count_unequal(responses: Sequence[LastResponse]) -> int:
    """Count the responses to one key that are not 200 or differ from the first one by a byte."""
    first = min(responses, key=lambda response: response.finished)
    return sum(each.status != 200 or each.body != first.body for each in responses)


def count_second_payers(responses: Sequence[LastResponse]) -> int:
    """Count the wrong responses to different keys: one click pays, the others get already-paid.

    A click that got 202, already paying, may end in 200 as well: its key waits for the outcome.
    """
    paid = [response for response in responses if response.status == 200]
    already_paid = sum(response.problem == ALREADY_PAID for response in responses)
    paid_at_once = sum(not response.was_accepted for response in paid)
    return len(responses) - len(paid) - already_paid + max(paid_at_once - 1, 0)


@dataclass(frozen=True)
class ClickPlan:
    """A row: what the clicks on an order send, and how many of its responses are wrong."""

    row: str
    one_key: bool  # for all clicks on an order; else each has its own
    count_wrong: Callable[[Sequence[LastResponse]], int]
    at_once: int | None = None  # clicks on an order; None is as many as may be in flight
    click: Callable[[HttpClient, DemoOrder, str], LastResponse] = shop_client.pay

    def keys(self, clicks: int) -> list[str]:
        """Return a key for each click on an order."""
        keys = [str(uuid4()) for _ in range(clicks)]
        return keys[:1] * clicks if self.one_key else keys


SCENARIOS = {
    "double_click": (
        ClickPlan("same key", one_key=True, count_wrong=count_unequal),
        ClickPlan("a key per click (two tabs)", one_key=False, count_wrong=count_second_payers),
    ),
    "back_and_resubmit": (
        ClickPlan("same key, after the response", True, count_unequal, at_once=1),
    ),
    "rpc_retry": (ClickPlan("same key, responses lost", one_key=True, count_wrong=count_unequal),),
}
