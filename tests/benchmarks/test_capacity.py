"""The capacity model agrees with what has been measured, and the document with the model."""

import subprocess
import sys

import pytest

from benchmarks import capacity
from benchmarks.capacity import COSTS, PAY, PLACE, REPLAY, Cost, Mix
from benchmarks.costs import Costs
from benchmarks.report import as_json
from benchmarks.throughput import Measured
from tests.docs.documents import ALL, FENCE, ROOT, tables

PERFORMANCE, SCALING = ALL["docs/performance.md"], ALL["docs/scaling.md"]
ONLY_PAYS = Mix(places=0, duplicates=0)


def published() -> dict[str, list[str]]:
    """Return the rows of the first table of docs/performance.md, by the kind of request."""
    return {name.strip(): cells for name, *cells in tables(PERFORMANCE)[0]}


def published_cost(kind: str) -> Cost:
    return Cost(*map(float, published()[kind][3:5]))


@pytest.mark.parametrize("kind", COSTS)
def test_the_costs_are_those_of_the_document(kind: str) -> None:
    assert COSTS[kind] == published_cost(kind)


def test_two_cores_make_as_many_pays_as_the_published_cpu_time_implies() -> None:
    predicted = capacity.pays_per_second(COSTS, ONLY_PAYS, cores=2)
    naively = COSTS | {PAY: published_cost("naive pay")}
    naive = capacity.pays_per_second(naively, ONLY_PAYS, cores=2)
    assert predicted == pytest.approx(2000 / sum(published_cost(PAY)))
    assert predicted / naive == pytest.approx(float(published()[PAY][2]), rel=0.05)  # × CPU


def test_orders_and_duplicates_take_their_share_of_the_cores() -> None:
    costs = {PAY: Cost(3, 2), PLACE: Cost(2, 1), REPLAY: Cost(1, 0.5)}
    assert Mix(places=2, duplicates=4).milliseconds(costs) == Cost(3 + 4 + 4, 2 + 2 + 2)


def test_hosts_and_connections_are_whole_and_leave_the_cores_some_time() -> None:
    costs = {PAY: Cost(2, 1), PLACE: Cost(0, 0), REPLAY: Cost(0, 0)}
    took = capacity.machines(costs, Mix(places=1), pays=1000, host_cores=4, utilisation=0.5)
    assert took["web: busy cores"] == pytest.approx(2)
    assert took["web: hosts of 4 cores"] == 1
    assert took["database: cores to have"] == 2
    assert took["log: commits to flush, a second"] == 2000
    assert took["connections: of the web servers"] == 4 * 17
    assert took["two systems: relays"] == 6  # 2.9 busy cores of at most half a core each


def test_a_pay_a_second_fills_the_disk_by_its_rows() -> None:
    filled = capacity.disk(Mix(places=0, duplicates=1), pays=1, hours=1, days=10)
    pays = 3600 / 10**9
    assert filled["GB a day: orders, payments, entries"] == pytest.approx(pays * capacity.PAYMENT)
    assert filled["GB: responses of 10 days"] == pytest.approx(10 * pays * capacity.RECORD)
    assert filled["GB: tombstones, keys are UUIDv7"] == pytest.approx(30 * pays * 370)
    assert filled["GB: journal of 7 days"] == pytest.approx(7 * pays * capacity.JOURNAL)


def test_it_reads_what_the_benchmark_prints() -> None:
    bursts = Measured(Costs(8, 1), python_ms=[3.0, 1.0, 2.0], postgres_ms=[0.5, 0.7, 0.6])
    read = capacity.measured(as_json({"cores": 2}, dict.fromkeys(COSTS, bursts)))
    assert read == dict.fromkeys(COSTS, Cost(2.0, 0.6))


def test_the_document_shows_what_the_command_prints() -> None:
    command = [sys.executable, "-m", "benchmarks.capacity"]
    printed = subprocess.check_output(command, cwd=ROOT, text=True)
    assert printed in "\n".join(FENCE.findall(SCALING))
