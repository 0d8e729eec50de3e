"""Replays and conflicts by the hour: counted in memory, written by a thread, none lost."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection
from django.http import HttpResponse, HttpResponseRedirect
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import ResolverMatch
from django.utils import timezone
from rest_framework.test import APIClient

from operations import hourly, metrics
from operations.hourly import RETENTION_DAYS, Tally, Writer, this_hour
from operations.models import HourlyCount
from orders.models import Order
from payments.models import Account
from tests.conftest import read_only
from tests.support.api_tokens import api_token_of
from tests.support.live import Caller, LiveServer, until
from tests.support.together import together

pytestmark = pytest.mark.django_db(transaction=True)

Kind = HourlyCount.Kind
# No server of another test writes to these hours.
LONG_AGO = this_hour() - timedelta(days=3)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[datetime], None]:
    """Set the hour that is counted in."""

    def set_to(hour: datetime) -> None:
        monkeypatch.setattr(hourly, "this_hour", lambda: hour)

    set_to(LONG_AGO)
    return set_to


@pytest.fixture
def tally(clock: Any) -> Tally:
    return Tally()


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch, tally: Tally) -> Tally:
    """What this process counts from now on."""
    monkeypatch.setattr(hourly, "TALLY", tally)
    return tally


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """A database that is down; call it to have it mended."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise OperationalError("connection refused")

    with monkeypatch.context() as patch:
        patch.setattr("operations.hourly._write", refuse)  # in every thread
        yield patch.undo


def add(tally: Tally, kind: str, times: int) -> None:
    for _ in range(times):
        tally.add(kind)


def stored(hour: datetime = LONG_AGO) -> dict[str, int]:
    return {row.kind: row.count for row in HourlyCount.objects.filter(hour=hour)}


def pay(client: APIClient, order: Order, account: Account, *, key: str) -> Any:
    return client.post(
        f"/api/v1/orders/{order.pk}/pay/",
        {"account": account.pk},
        headers={"Idempotency-Key": key},
    )


# --- Written


def test_what_was_counted_is_added_once_however_often_it_is_flushed(tally: Tally) -> None:
    add(tally, Kind.REPLAY, 3)
    add(tally, Kind.CONFLICT, 1)
    for _ in range(3):
        tally.flush()
    assert stored() == {"replay": 3, "conflict": 1}

    add(tally, Kind.REPLAY, 2)
    tally.flush()

    assert stored() == {"replay": 5, "conflict": 1}


def test_each_hour_has_its_own_count(tally: Tally, clock: Callable[[datetime], None]) -> None:
    add(tally, Kind.REPLAY, 2)
    clock(LONG_AGO + timedelta(hours=1))
    add(tally, Kind.REPLAY, 3)

    tally.flush()

    assert stored() == {"replay": 2}
    assert stored(LONG_AGO + timedelta(hours=1)) == {"replay": 3}


def test_an_hour_begins_at_its_first_second_in_utc() -> None:
    now = this_hour()
    assert (now.minute, now.second, now.microsecond, now.tzinfo) == (0, 0, 0, UTC)
    assert timedelta(0) <= timezone.now() - now < timedelta(hours=1)


def test_the_flushes_of_many_processes_at_once_add_up(
    clock: Callable[[datetime], None],
) -> None:
    tallies = [Tally() for _ in range(8)]

    def count_and_flush(number: int) -> None:
        for _ in range(5):
            # In different orders: two flushes that locked in these would wait for each other.
            for kind in list(Kind)[:: 1 if number % 2 else -1]:
                add(tallies[number], kind, number + 1)
            tallies[number].flush()

    together(len(tallies), count_and_flush)

    assert stored() == {"replay": 5 * 36, "conflict": 5 * 36}


def test_a_flush_while_others_count_loses_none(tally: Tally) -> None:
    def count_or_flush(number: int) -> None:
        for _ in range(200):
            if number:
                tally.add(Kind.REPLAY)
            else:
                tally.flush()

    together(5, count_or_flush)
    tally.flush()

    assert stored() == {"replay": 800}


def test_a_flush_that_fails_is_retried_without_loss(
    tally: Tally, broken: Callable[[], None]
) -> None:
    add(tally, Kind.REPLAY, 2)
    for _ in range(2):
        with pytest.raises(OperationalError):
            tally.flush()
        add(tally, Kind.REPLAY, 1)
    broken()
    assert stored() == {}

    tally.flush()

    assert stored() == {"replay": 4}


def test_nothing_counted_makes_no_query(tally: Tally) -> None:
    with CaptureQueriesContext(connection) as captured:
        tally.flush()
    assert len(captured) == 0


def test_hours_past_their_time_go_with_the_next_flush(
    tally: Tally, clock: Callable[[datetime], None]
) -> None:
    last = this_hour() - timedelta(days=RETENTION_DAYS) + timedelta(hours=2)
    old = this_hour() - timedelta(days=RETENTION_DAYS, hours=1)
    for hour in (old, last):
        HourlyCount.objects.create(hour=hour, kind=Kind.REPLAY, count=7)
    clock(old)
    tally.add(Kind.REPLAY)  # so long was the database down
    clock(LONG_AGO)
    tally.add(Kind.REPLAY)

    tally.flush()

    assert stored(old) == {}
    assert stored(last) == {"replay": 7}
    assert stored() == {"replay": 1}


# --- The thread


def test_the_thread_writes_while_it_runs_and_once_more_when_it_is_stopped(tally: Tally) -> None:
    writer = Writer(tally, pause=0.02)
    add(tally, Kind.REPLAY, 2)
    writer.start()
    until(lambda: stored() == {"replay": 2}, what="the thread wrote")

    slow = Writer(tally, pause=3600)
    writer.stop()
    slow.start()
    add(tally, Kind.REPLAY, 3)
    assert stored() == {"replay": 2}
    slow.stop()

    assert stored() == {"replay": 5}
    assert not writer.is_alive()
    assert not slow.is_alive()


def test_the_thread_outlives_a_database_that_is_down(
    tally: Tally, broken: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[float] = []
    flush = tally.flush

    def flush_and_note() -> None:
        tries.append(time.monotonic())
        flush()

    monkeypatch.setattr(tally, "flush", flush_and_note)
    add(tally, Kind.CONFLICT, 2)
    writer = Writer(tally, pause=0.01)
    writer.start()
    until(lambda: len(tries) >= 3, what="it retries")

    broken()
    writer.stop()

    assert stored() == {"conflict": 2}


def test_the_thread_leaves_no_connection_behind(tally: Tally) -> None:
    def connections() -> int:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE query LIKE '%INSERT INTO operations_hourlycount%'"
                " AND datname = current_database() AND pid <> pg_backend_pid()"
            )
            count: int = cursor.fetchone()[0]
            return count

    add(tally, Kind.REPLAY, 1)
    writer = Writer(tally, pause=0.01)
    writer.start()
    try:
        until(stored, what="the thread wrote")
        until(lambda: connections() == 0, what="its connection is closed")
        assert writer.is_alive()
    finally:
        writer.stop()


# --- Counted


def test_a_replay_is_counted_and_writes_nothing(
    counted: Tally,
    as_alice: APIClient,
    alice: User,
    alice_account: Account,
    place: Callable[..., Order],
) -> None:
    order = place(customer=alice)
    assert pay(as_alice, order, alice_account, key="one").status_code == 200

    with read_only():
        for _ in range(2):
            replay = pay(as_alice, order, alice_account, key="one")
            assert replay["Idempotent-Replayed"] == "true"

    assert stored() == {}
    counted.flush()
    assert stored() == {"replay": 2}


def test_a_key_of_another_request_is_counted_as_a_conflict_and_two_tabs_are_not(
    counted: Tally,
    as_alice: APIClient,
    alice: User,
    alice_account: Account,
    place: Callable[..., Order],
) -> None:
    one, other = place(customer=alice), place(customer=alice)
    assert pay(as_alice, one, alice_account, key="one").status_code == 200
    assert pay(as_alice, one, alice_account, key="two").status_code == 409  # paid already

    assert pay(as_alice, other, alice_account, key="one").status_code == 422

    counted.flush()
    assert stored() == {"conflict": 1}


def shop_page(final_response: HttpResponse | None, *, replayed: bool = False) -> HttpResponse:
    """Return the shop's response to a click on Pay."""
    page = HttpResponseRedirect("/orders/1/")
    if replayed:
        page["Idempotent-Replayed"] = "true"
    if final_response is not None:
        page.final_response = final_response  # type: ignore[attr-defined]
    return page


def count_shop_page(page: HttpResponse) -> None:
    request = RequestFactory().post("/orders/1/pay/")
    request.resolver_match = ResolverMatch(
        lambda: None, (), {}, url_name="pay", namespaces=["shop"], route="orders/<uuid>/pay/"
    )
    metrics.count(request, page, seconds=0.1)


def sample(name: str, **labels: str) -> float:
    return metrics.COUNTED.get_sample_value(f"charge_once_{name}", labels) or 0


def test_a_click_on_the_shops_page_counts_as_the_apis_final_response() -> None:
    declined = HttpResponse(status=402)
    before = sample("pays_total", status="402"), sample("declines_total")

    count_shop_page(shop_page(declined))
    count_shop_page(shop_page(declined, replayed=True))

    assert sample("pays_total", status="402") - before[0] == 2
    assert sample("declines_total") - before[1] == 1


def test_the_web_servers_workers_write_what_they_counted_before_they_end(
    tmp_path: Path, alice: User, alice_account: Account, place: Callable[..., Order]
) -> None:
    order = place(customer=alice)
    database, token = connection.get_connection_params(), api_token_of(alice)
    with LiveServer(database=database, folder=tmp_path, workers=2) as server:
        caller = Caller(server.url, token)
        path, body = f"/api/v1/orders/{order.pk}/pay/", {"account": alice_account.pk}
        responses = [caller.post(path, body, key="one") for _ in range(7)]

    assert [response.status for response in responses] == [200] * 7
    # Another test's server may add the last of its own.
    assert sum(row.count for row in HourlyCount.objects.filter(kind=Kind.REPLAY)) >= 6
    assert "not written yet" not in server.log.read_text()
