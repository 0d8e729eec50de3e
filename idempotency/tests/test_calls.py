"""Functions and consumers of messages: once per key."""

import threading
from typing import Any

import pytest
from django.db import connection

from idempotency import Claim, once, run_once
from idempotency.errors import KeyInUse, KeyInvalid, KeyReused
from idempotency.models import Record
from idempotency.tests.conftest import charges
from idempotency.tests.project.views import charge

pytestmark = pytest.mark.django_db(transaction=True)


def pay(key: str = "message-1", args: Any = None, **more: Any) -> Any:
    return run_once(scope="tasks", key=key, args=args, call=lambda: {"charges": charge()}, **more)


def test_a_call_returns_the_first_result_for_ever() -> None:
    assert [pay(args={"amount": 1}) for _ in range(3)] == [{"charges": 1}] * 3
    assert charges() == 1


def test_a_call_with_other_arguments_is_refused() -> None:
    pay(args={"amount": 1})
    with pytest.raises(KeyReused):
        pay(args={"amount": 2})
    assert charges() == 1


def test_a_call_that_fails_leaves_nothing_and_may_try_again() -> None:
    def fail() -> None:
        charge()
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError):
        run_once(scope="tasks", key="k", call=fail)

    assert (charges(), Record.objects.count()) == (0, 0)
    assert pay("k") == {"charges": 1}


def test_a_key_of_a_call_is_checked() -> None:
    with pytest.raises(KeyInvalid):
        pay("with space")


def test_simultaneous_calls_run_once_and_all_get_the_first_result(settings: Any) -> None:
    settings.IDEMPOTENCY = {"WAITING_THREADS_MAX": 8}
    barrier, results = threading.Barrier(5), []

    def click() -> None:
        barrier.wait()
        results.append(pay())
        connection.close()

    threads = [threading.Thread(target=click) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert results == [{"charges": 1}] * 5
    assert charges() == 1


def consume(event: str) -> bool:
    with once("webhooks", event) as claim:
        if claim.is_first:
            charge()
        return claim.is_first


def test_a_message_that_is_delivered_twice_is_consumed_once() -> None:
    assert [consume("e1"), consume("e1"), consume("e2")] == [True, False, True]
    assert charges() == 2


def test_a_message_whose_consumer_fails_is_consumed_by_the_next_delivery() -> None:
    with pytest.raises(RuntimeError), once("webhooks", "e1"):  # noqa: PT012
        charge()
        raise RuntimeError("a bug")

    assert charges() == 0
    assert consume("e1")


def test_a_message_that_is_being_consumed_is_for_the_queue_to_deliver_again() -> None:
    other = connection.copy()
    with other.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [Claim("webhooks", "e1").key_lock])
        with pytest.raises(KeyInUse):
            consume("e1")
    other.close()
    assert charges() == 0
