"""A wait for a request in flight, and a database that does not respond."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from django.db import InternalError, OperationalError, connection
from psycopg.errors import ConnectionTimeout

from idempotency import Claim, failpoints, waiting
from idempotency.database_errors import is_repeatable, is_temporary
from idempotency.errors import KeyInUse
from idempotency.tests.conftest import Debiting
from idempotency.tests.project.models import Account

Hold = Callable[[str], AbstractContextManager[None]]


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The limits of the statements that wait, in order; none may be longer than 0.1 s."""
    monkeypatch.setattr(waiting, "STATEMENT_SECONDS_MAX", 0.1)
    return []


def waited(limits: list[str], after: Callable[[], Any]) -> None:
    """Wait up to 1 s for the key that is held; call `after` with each statement that waits."""

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql == waiting.LIMIT_WAIT:
            limits.extend(params)
            after()
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        waiting.wait_for(Claim("anybody", "k").key_lock, seconds=1)


@pytest.mark.django_db(transaction=True)
def test_a_long_wait_is_made_of_short_statements(hold: Hold, limits: list[str]) -> None:
    started = time.monotonic()
    with hold("anybody"), pytest.raises(KeyInUse):
        waited(limits, after=lambda: None)

    assert time.monotonic() - started >= 1
    assert len(limits) > 2
    assert max(int(limit.removesuffix("ms")) for limit in limits) == 100


@pytest.mark.django_db(transaction=True)
def test_a_wait_ends_with_the_holder_in_a_later_statement_too(
    hold: Hold, limits: list[str]
) -> None:
    holding = hold("anybody")
    holding.__enter__()

    def end_with_the_third() -> None:
        if len(limits) == 3:
            holding.__exit__(None, None, None)

    waited(limits, after=end_with_the_third)
    assert len(limits) == 3


def test_a_server_that_did_not_respond_in_time_is_temporary_and_not_worth_another_wait() -> None:
    error = OperationalError("no response")
    error.__cause__ = ConnectionTimeout("no response")
    assert is_temporary(error)
    assert not is_repeatable(error)
    error.__cause__ = None
    assert is_repeatable(error), "a lost connection is"
    assert is_repeatable(InternalError("received 2 results from command 'COMMIT'")), "a pooler's"


def test_after_a_silence_nothing_runs_anew(debit: Debiting, account: Account) -> None:
    runs: list[str] = []

    def hook(name: str) -> None:
        if name == "debited":
            runs.append(name)
            raise OperationalError("no response") from ConnectionTimeout("no response")

    failpoints.install(hook)
    try:
        response = debit()
    finally:
        failpoints.install(None)
    assert response.status_code == 500, "stock DRF's, for any database error"
    assert len(runs) == 1
