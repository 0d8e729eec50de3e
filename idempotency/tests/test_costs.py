"""Statements: two on top of the effect for a first execution, one look-up for a replay."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from idempotency import once, run_once
from idempotency.tests.conftest import charges
from idempotency.tests.project.views import charge
from idempotency.tests.support import read_only
from idempotency.tests.test_views import post

pytestmark = pytest.mark.django_db(transaction=True)

TRANSACTION = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE")
VIEWS = ["/rest/", "/set/", "/function/", "/plain/", "/class/7/"]


def statements(act: Callable[[], Any]) -> list[str]:
    """Return the statements of an act, without those that begin and end its transaction."""
    with CaptureQueriesContext(connection) as captured:
        act()
    found = [query["sql"] for query in captured.captured_queries]
    return [sql for sql in found if not sql.startswith(TRANSACTION)]


@pytest.mark.parametrize("path", VIEWS)
def test_a_first_execution_costs_two_statements_and_a_replay_one(path: str, client: Client) -> None:
    effect = statements(charge)
    signed_in = statements(lambda: client.get("/django/keys/unused/"))[:2]  # session and user

    first = statements(lambda: post(client, path))
    replay = statements(lambda: post(client, path))

    assert len(first) - len(effect) - len(signed_in) == 2
    assert len(replay) - len(signed_in) == 1
    assert "pg_try_advisory_xact_lock" in replay[-1]
    assert charges() == 2


def test_a_call_costs_two_statements_and_its_replay_one() -> None:
    def call() -> Any:
        return run_once(scope="tasks", key="k", call=charge)

    effect = len(statements(charge))
    assert [len(statements(call)) - effect, len(statements(call))] == [2, 1]


def test_a_message_costs_two_statements_and_its_duplicate_one() -> None:
    def consume() -> None:
        with once("webhooks", "e1") as claim:
            if claim.is_first:
                charge()

    effect = len(statements(charge))
    assert [len(statements(consume)) - effect, len(statements(consume))] == [2, 1]


@pytest.mark.parametrize("path", VIEWS)
def test_a_replay_writes_nothing(path: str, client: Client) -> None:
    post(client, path)
    with read_only():
        replay = post(client, path)

    assert replay["Idempotent-Replayed"] == "true"


def test_a_first_execution_does_not_succeed_where_nothing_can_be_written(client: Client) -> None:
    client.raise_request_exception = False
    with read_only():
        assert post(client, "/plain/").status_code == 500
    assert charges() == 0


def test_the_replay_of_a_call_writes_nothing() -> None:
    run_once(scope="tasks", key="k", call=charge)
    with read_only():
        assert run_once(scope="tasks", key="k", call=charge) == 1


def test_an_inquiry_writes_nothing(client: Client) -> None:
    post(client, "/plain/")
    with read_only():
        assert client.get("/api/keys/k/").json()["state"] == "completed"
        assert client.get("/api/keys/unused/").status_code == 404
