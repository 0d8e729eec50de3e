"""The result of a plan: its row in the table and in the JSON report."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from simulator.http_client import LastResponse
from simulator.scenarios import ClickPlan
from simulator.shop_client import DemoOrder


@dataclass(frozen=True)
class PlanResult:
    """Counts of a plan; money in minor units, times in ms from the click to the final response."""

    row: str
    orders: int
    clicks: int
    responses: dict[str, int]
    replays: int
    retries: int
    charges: int
    double_charges: int
    money_missing: int
    wrong_responses: int
    unfinished_clicks: int
    p50_ms: float
    p99_ms: float
    # Where a proxy before the payment system counts: all requests, the responses that it lost, and
    # the payments that reached the server more than once.
    requests: int | None = None
    responses_lost: int | None = None
    duplicates: int | None = None

    def with_traffic(self, before: "Traffic", after: "Traffic") -> "PlanResult":
        """Return the result with what passed the proxy meanwhile."""
        return replace(
            self,
            requests=after.requests - before.requests,
            responses_lost=after.responses_lost - before.responses_lost,
            duplicates=max(after.reached - before.reached - self.orders, 0),
        )


@dataclass(frozen=True)
class Traffic:
    """A proxy's counts: all requests, responses that it lost, POSTs that reached the server."""

    requests: int
    responses_lost: int
    reached: int


def result_of(
    plan: ClickPlan,
    responses: Mapping[DemoOrder, list[LastResponse]],
    *,
    charges: Sequence[int],
    money_missing: int,
) -> PlanResult:
    """Return the result of a plan from the responses to its clicks.

    :param charges: how often each order was charged
    :param money_missing: what the accounts lost beyond the paid orders, in minor units
    """
    received = list(chain.from_iterable(responses.values()))
    final_by_order = [[each for each in own if each.is_final] for own in responses.values()]
    final = list(chain.from_iterable(final_by_order))
    statuses = Counter(response.status for response in final)
    times_ms = sorted(1000 * (response.finished - response.started) for response in final)
    return PlanResult(
        row=plan.row,
        orders=len(responses),
        clicks=len(received),
        responses={str(status): count for status, count in sorted(statuses.items())},
        replays=sum(each.headers.get("Idempotent-Replayed") == "true" for each in final),
        retries=sum(response.retries for response in received),
        charges=sum(charges),
        double_charges=sum(count > 1 for count in charges),
        money_missing=money_missing,
        wrong_responses=sum(plan.count_wrong(own) for own in final_by_order if own),
        unfinished_clicks=len(received) - len(final),
        p50_ms=_percentile(times_ms, 50),
        p99_ms=_percentile(times_ms, 99),
    )


def _percentile(ordered: Sequence[float], percent: int) -> float:
    """Return the smallest time that so many percent do not exceed; 0 where there is none."""
    return round(ordered[math.ceil(len(ordered) * percent / 100) - 1], 1) if ordered else 0.0
