"""What a storm's journal comes to, and which rows of the cluster's table are as they should be."""

import json
from dataclasses import replace
from typing import Any

import pytest

from demo.cluster import places
from simulator.campaign.__main__ import ASYNCHRONOUS, _judge, main
from simulator.campaign.storm import Journal
from simulator.campaign.verdict import Verdict

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
    monkeypatch.setattr(places, "missing", lambda: "No namespaces here.")
    monkeypatch.setattr("sys.argv", ["campaign", *arguments])
    assert main() == code
    assert "No namespaces here. It did not run." in capfd.readouterr().out
