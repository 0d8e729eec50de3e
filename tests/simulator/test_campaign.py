"""What a storm's journal comes to, and which rows of the cluster's table are as they should be."""

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest
from django.db import connection

from demo.cluster import places
from orders.models import Order
from simulator.campaign import rows
from simulator.campaign.__main__ import ASYNCHRONOUS, _judge, _options, main
from simulator.campaign.storm import Journal, Storm
from simulator.campaign.verdict import (
    CHARGED_TWICE,
    LEFT,
    LOST_ORDERS,
    LOST_PAYMENTS,
    Verdict,
    verdict_on,
)

CLEAN = Verdict(
    fault="primary killed",
    silence_seconds=18.0,
    responses=400,
    acknowledged=200,
    lost=0,
    charged_twice=0,
    contradictions=0,
    unfinished=0,
    left_paying=0,
    breaches="",
)


def body(**fields: Any) -> bytes:
    return json.dumps({"id": "o", "payment": None} | fields).encode()


def test_two_different_final_responses_to_one_key_are_a_contradiction() -> None:
    journal = Journal()
    for key, status, sent in (
        ("same", 200, body()),
        ("same", 200, body()),
        ("retried", 503, b"{}"),
        ("retried", 200, body()),
        ("in use", 409, b'{"type": "/problems/idempotency-key-in-use"}'),
        ("in use", 200, body()),
    ):
        journal.note("orders/", key, status, sent)
    assert journal.contradictions() == 0

    journal.note("orders/", "same", 200, body(id="another"))
    assert journal.contradictions() == 1


def test_only_what_promises_an_order_or_a_payment_is_a_success() -> None:
    journal = Journal()
    journal.note("orders/", "k", 201, body())
    journal.note("orders/o/pay/", "l", 200, body(payment={"id": "p"}))
    for status in (0, 202, 409, 503):
        journal.note("orders/o/pay/", "m", status, b"{}")
    assert [(each.order, each.payment) for each in journal.successes()] == [("o", ""), ("o", "p")]


def test_a_pay_is_a_success_once_its_response_is_final_and_shows_the_payment() -> None:
    journal = Journal()
    journal.note("orders/o/pay/", "k", 202, body(status=1))
    journal.note("orders/o/pay/", "k", 200, body(status=1))
    assert journal.successes() == []

    journal.note("orders/o/pay/", "k", 200, body(status=2, payment={"id": "p"}))
    assert [each.payment for each in journal.successes()] == ["p"]


def test_a_202_and_the_final_response_after_it_are_no_contradiction() -> None:
    journal = Journal()
    journal.note("orders/o/pay/", "k", 202, body(status=1))
    journal.note("orders/o/pay/", "k", 200, body(status=2, payment={"id": "p"}))
    assert journal.contradictions() == 0


def test_the_silence_is_the_longest_time_without_a_success() -> None:
    journal = Journal()
    for _ in range(3):
        journal.note("orders/", "k", 201, body())
    journal.lines = [
        each._replace(at=at) for each, at in zip(journal.lines, (5, 12, 13), strict=True)
    ]
    assert journal.silence_seconds(since=10.0) == 2.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"lost": 1},
        {"charged_twice": 1},
        {"contradictions": 1},
        {"unfinished": 1},
        {"left_paying": 1},
        {"breaches": "an order without its lines"},
    ],
)
def test_a_row_with_anything_wrong_fails_the_campaign(wrong: dict[str, Any]) -> None:
    assert _judge([CLEAN]) == 0
    assert _judge([CLEAN, replace(CLEAN, **wrong)]) == 1


def test_without_synchronous_replication_something_has_to_be_lost() -> None:
    assert _judge([replace(CLEAN, fault=ASYNCHRONOUS)]) == 1
    assert _judge([replace(CLEAN, fault=ASYNCHRONOUS, lost=3)]) == 0


@pytest.mark.parametrize(("arguments", "code"), [(["--short"], 0), ([], 1)])
def test_where_no_cluster_can_run_only_the_short_form_is_content(
    arguments: list[str],
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(places, "prepare", lambda: "No namespaces here.")
    monkeypatch.setattr("sys.argv", ["campaign", *arguments])
    assert main() == code
    assert "No namespaces here. It did not run." in capfd.readouterr().out


class FakeCluster:
    """Returns given counts by query, and records what was promised."""

    def __init__(self, counts: dict[str, int]) -> None:
        self.counts = counts
        self.promised: dict[str, list[str]] = {}

    def count(self, query: str, *, promised: list[str] | None = None) -> int:
        if promised is not None:
            self.promised[query] = sorted(promised)
        return self.counts[query]


class FakeSystems(tuple[FakeCluster, FakeCluster]):
    def checks(self) -> list[Any]:
        return [
            SimpleNamespace(returncode=code, stdout=f"exit {code}", stderr="") for code in (0, 1)
        ]


def test_each_promise_is_looked_up_on_the_side_that_made_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("simulator.campaign.verdict.SETTLED_SECONDS_MAX", 0)
    journal = Journal()
    journal.note("orders/", "k", 201, body(id="o1"))
    journal.note("orders/o2/pay/", "l", 200, body(id="o2", payment={"id": "p2"}))
    storm = cast("Storm", SimpleNamespace(journal=journal, unfinished=0))
    orders = FakeCluster({LOST_ORDERS: 2, LEFT: 1})
    payments = FakeCluster({LOST_PAYMENTS: 3, CHARGED_TWICE: 4})

    systems: Any = FakeSystems((orders, payments))
    verdict = verdict_on(storm, systems, fault="relay killed", since=0.0)

    assert orders.promised == {LOST_ORDERS: ["o1", "o2"]}
    assert payments.promised == {LOST_PAYMENTS: ["p2"]}
    assert (verdict.lost, verdict.charged_twice, verdict.left_paying) == (5, 4, 1)
    assert verdict.breaches == "exit 1"


def test_a_promise_is_lost_whose_row_is_not_there(order: Order) -> None:
    promised = {"promised": [str(order.pk), str(uuid4())]}
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT ({LOST_ORDERS}), ({LOST_PAYMENTS})", promised)
        lost = cursor.fetchone()
    assert lost == (1, 2)


def test_with_two_systems_there_are_other_faults_and_no_asynchronous_row() -> None:
    assert _options([]).only == list(rows.ONE_SYSTEM)
    assert _options([]).asynchronous
    options = _options(["--two-systems"])
    assert options.only == list(rows.TWO_SYSTEMS)
    assert not options.asynchronous
    for kind in ([], ["--two-systems"]):
        assert len(_options(["--short", *kind]).only) == 2


@pytest.mark.parametrize(
    "arguments", [["--only", "relay killed"], ["--two-systems", "--only", "disk full"]]
)
def test_a_fault_of_the_other_kind_is_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        _options(arguments)
    assert f"--only has no such fault: {arguments[-1]}" in capsys.readouterr().err
