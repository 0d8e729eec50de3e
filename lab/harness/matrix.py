"""A run of the lab: every mechanism in every scenario, the results, and the costs."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from lab.expected import (
    ERROR,
    EXPECTED,
    FIRST,
    LOST,
    NEW,
    NO_RESPONSE,
    REFUSED,
    SERVER_ERROR,
    ExpectedCell,
)
from lab.harness.bank import receipt
from lab.harness.cluster import LabCluster
from lab.harness.recorder import NullRecorder
from lab.harness.scenario_run import PLENTY, ClickResult, ScenarioRun
from lab.harness.scenarios import SCENARIOS
from lab.harness.scheduler import LabError, Scheduler
from lab.harness.shutdown import end_if_asked
from lab.mechanisms import runnable

ROUNDS = 40  # of the measurement of costs; in each, every mechanism pays once


@dataclass(frozen=True)
class CellResult:
    """The measured cell: the real charges, and the result that the duplicates got."""

    scenario: str
    charges: int | str
    duplicate_result: str
    expected: ExpectedCell
    clicks: tuple[dict[str, Any], ...]

    @property
    def as_expected(self) -> bool:
        expected = self.expected.charges, self.expected.duplicate_result
        return (self.charges, self.duplicate_result) == expected


@dataclass(frozen=True)
class Cost:
    """A first payment's statements (Redis commands too, but not BEGIN and COMMIT) and time."""

    statements: int
    milliseconds: float
    against_naive: float


@dataclass
class MatrixRow:
    """A mechanism's row of the matrix; no cells where it needs what isn't there."""

    mechanism: str
    cells: list[CellResult] = field(default_factory=list)
    cost: Cost | None = None


@dataclass(frozen=True)
class LabPlan:
    """The plan of a run: these scenarios with these mechanisms, as far as they can run here."""

    mechanisms: Sequence[str]
    scenarios: Sequence[str]
    clicks: int
    measure_costs: bool = False
    redis_url: str | None = None
    recorder: NullRecorder = field(default_factory=NullRecorder)
    has_second_database: bool = False

    @property
    def runnable(self) -> list[str]:
        """The mechanisms that can run here."""
        has_redis = self.redis_url is not None
        return runnable(self.mechanisms, redis=has_redis, second_database=self.has_second_database)


def run_plan(plan: LabPlan, *, advance: Callable[[str, str], object]) -> list[MatrixRow]:
    """Run all scenarios with all mechanisms that can run here; return a row for each mechanism."""
    names = plan.runnable
    measured = list(dict.fromkeys(["naive", *names])) if plan.measure_costs else []
    rows = {name: MatrixRow(name) for name in plan.mechanisms}
    with LabCluster({*names, *measured}, plan.redis_url, clicks=plan.clicks) as cluster:
        for name in names:
            for scenario in plan.scenarios:
                rows[name].cells.append(_run_scenario(cluster, name, scenario, plan))
                advance(name, scenario)
        for name, cost in _measure_costs(cluster, measured):
            if name in rows:
                rows[name].cost = cost
    return list(rows.values())


def _run_scenario(cluster: LabCluster, mechanism: str, name: str, plan: LabPlan) -> CellResult:
    scenario, recorder = SCENARIOS[name], plan.recorder
    with Scheduler(recorder.record) as scheduler:
        run = ScenarioRun(
            cluster,
            mechanism,
            scheduler,
            clicks=plan.clicks,
            opening_balance=scenario.opening_balance,
        )
        account = f"{cluster.settings.schema(mechanism)}.account", run.account
        with recorder.watch(mechanism, name, account=account, sessions=cluster.settings.prefix):
            scenario.steps(run)
            results = run.results()
    cell = _cell(run, name, results)
    recorder.record("result", **asdict(cell))
    return cell


def _cell(run: ScenarioRun, scenario: str, results: Sequence[ClickResult]) -> CellResult:
    expected = EXPECTED[run.mechanism].cell(scenario, clicks=run.clicks)
    words = [_classify(result, run.opening_balance) for result in results]
    charges = _charges_or_word(run.count_charges(), results)
    clicks = tuple(_describe_clicks(results, words))
    return CellResult(scenario, charges, _duplicate_result(words), expected, clicks)


def _classify(result: ClickResult, opening_balance: int) -> str:
    amount = result.page.amount
    return classify(result.status, result.text, amount=amount, opening_balance=opening_balance)


def classify(status: int | None, text: str, *, amount: int, opening_balance: int) -> str:
    """Return the kind of a response: a first charge's result, a further one's, or no result."""
    if status == 200:
        return FIRST if text == receipt(amount, opening_balance - amount) else NEW
    return {409: ERROR, None: NO_RESPONSE}.get(status, SERVER_ERROR)


def _duplicate_result(words: Sequence[str]) -> str:
    """Return what the duplicates got: every click but the first one to be executed."""
    duplicates = list(words)
    if len(duplicates) > 1:
        # The first click got no response if its process was killed; else one got the first result.
        first = NO_RESPONSE if words[0] == NO_RESPONSE else FIRST if FIRST in words else words[0]
        duplicates.remove(first)
    return " / ".join(sorted(set(duplicates)))


def _charges_or_word(charges: float, results: Sequence[ClickResult]) -> int | str:
    """Return the charges; LOST if an order counts as paid and isn't; REFUSED if there are none."""
    if charges % 1:
        raise LabError(f"{charges} charges: some were of another amount")
    paid = {result.page.order for result in results if result.status == 200}
    if charges < len(paid):
        return LOST
    return int(charges) or REFUSED


def _describe_clicks(
    results: Sequence[ClickResult], words: Sequence[str]
) -> Iterator[dict[str, Any]]:
    start = min(result.sent for result in results)
    for result, word in zip(results, words, strict=True):
        yield {
            "server": result.server,
            "result": word,
            "text": result.text,
            "sent_ms": round(1000 * (result.sent - start), 2),
            "received_ms": round(1000 * (result.received - start), 2),
        }


def _measure_costs(cluster: LabCluster, mechanisms: Sequence[str]) -> Iterator[tuple[str, Cost]]:
    """Measure a payment with each mechanism in turn, so that a disturbance slows all of them."""
    measured: dict[str, list[ClickResult]] = {name: [] for name in mechanisms}
    with Scheduler() as scheduler:
        for _ in range(ROUNDS):
            for name, results in measured.items():
                end_if_asked()
                run = ScenarioRun(cluster, name, scheduler, clicks=1, opening_balance=PLENTY)
                results.append(run.pay_unscheduled())
    times = {name: median(each.seconds for each in results) for name, results in measured.items()}
    for name, results in measured.items():
        (statements,) = {result.statements for result in results}
        ratio = round(times[name] / times["naive"], 2)
        yield name, Cost(statements, round(1000 * times[name], 3), ratio)


def as_json(rows: Sequence[MatrixRow]) -> list[dict[str, Any]]:
    """Return the rows with every detail."""
    return [
        {
            "mechanism": row.mechanism,
            "cost": asdict(row.cost) if row.cost else None,
            "scenarios": [asdict(cell) | {"as_expected": cell.as_expected} for cell in row.cells],
        }
        for row in rows
    ]
