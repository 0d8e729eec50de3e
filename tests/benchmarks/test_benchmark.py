"""`make benchmark`, with bursts that are too short to tell anything but that it works."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from benchmarks import capacity
from benchmarks.kinds import KINDS
from tests.support.live import ROOT, database_url

ROUNDS = 2
BRIEF = ("--rounds", str(ROUNDS))
ORDERS = 1_000, 3_000

Benchmark = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def benchmark(django_db_setup: None, django_db_blocker: Any) -> Benchmark:
    """Run a benchmark with these arguments; return what it printed as JSON."""
    with django_db_blocker.unblock():
        connection.ensure_connection()
        url = database_url(connection.get_connection_params())
        connection.close()

    def run(*arguments: str) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks", *arguments, "--json"],
            cwd=ROOT,
            env=os.environ | {"DATABASE_URL": url},
            check=True,
            stdout=subprocess.PIPE,
        )
        values: dict[str, Any] = json.loads(done.stdout)
        return values

    return run


@pytest.fixture(scope="module")
def measured(benchmark: Benchmark) -> dict[str, Any]:
    return benchmark("--clients", "2", "--seconds", "0.2", *BRIEF)


def test_every_kind_of_request_is_measured_in_every_round(measured: dict[str, Any]) -> None:
    assert list(measured["kinds"]) == [kind.name for kind in KINDS]
    for kind in KINDS:
        each = measured["kinds"][kind.name]
        assert each["responses"] >= ROUNDS * 2, kind  # of two clients, each one checked
        for values in ("ratios", "cpu_ratios", "per_second", "client_ms"):
            assert len(each[values]) == ROUNDS, (kind, values)
            assert min(each[values]) > 0, (kind, values)
        assert len(each["python_ms"]) == len(each["postgres_ms"]) == ROUNDS, kind
    assert measured["kinds"]["naive pay"]["ratios"] == [1.0] * ROUNDS


def test_a_pay_makes_at_most_eight_round_trips_and_a_replay_at_most_two(
    measured: dict[str, Any],
) -> None:
    trips = {name: each["costs"]["round_trips"] for name, each in measured["kinds"].items()}
    assert trips["first pay"] <= 8
    assert trips["replay of a pay"] <= 2
    assert trips["replay of a place"] <= 2
    assert trips["naive pay"] > trips["pay without a key"] >= 4  # at least BEGIN and COMMIT
    assert all(value == int(value) for value in trips.values())  # each request the same


def test_a_shop_with_a_history_is_measured_beside_one_with_less(benchmark: Benchmark) -> None:
    """The audit, which the benchmark runs and demands to be clean, admits the history."""
    few, many = map(str, ORDERS)
    grown = benchmark("--growth", "--orders", many, "--beside", few, "--seconds", "0.2", *BRIEF)
    assert [row["orders"] for row in grown["history"]] == list(ORDERS)
    for row in grown["history"]:
        assert row["paid"] == row["orders"] * 0.98
        assert row["records"] == row["orders"] * 1.99
    assert len(grown["requests"]) == 5
    assert all(each["p50 ms"] > 0 for both in grown["requests"].values() for each in both)
    assert {"/admin/dashboard/", "/admin/orders/order/"} < grown["pages ms"].keys()
    assert grown["pages refused"] == {}


def test_a_pay_through_two_services_is_measured(benchmark: Benchmark) -> None:
    done = benchmark("--services", "--clients", "2", "--seconds", "0.3", *BRIEF)
    assert list(done["customers"]) == ["1", "2"]
    assert all(each["p50 ms"] > 0 for each in done["customers"].values())


def test_the_rows_are_as_large_as_the_capacity_model_says(benchmark: Benchmark) -> None:
    measured = benchmark("--sizes", "--orders", "5000")
    modelled = {
        "order": capacity.ORDER,
        "pay": capacity.PAYMENT,
        "key": capacity.RECORD,
        "journal": capacity.JOURNAL,
        "outbox": capacity.OUTBOX,
        "tombstone": capacity.TOMBSTONE,
    }
    assert {unit: measured[unit] for unit in modelled} == pytest.approx(modelled, rel=0.1)


@pytest.mark.django_db
def test_the_databases_are_gone_afterwards(measured: dict[str, Any]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT datname FROM pg_database WHERE starts_with(datname, current_database() || '_b')"
        )
        assert cursor.fetchall() == []
