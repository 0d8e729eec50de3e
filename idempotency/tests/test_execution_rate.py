"""A rate of first executions per scope: exact for simultaneous callers, and free for replays."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from idempotency import Claim, failpoints, rate_limit, run_once
from idempotency.models import RateCount, Record, Token
from idempotency.tests.conftest import OPENING, Debiting, charges, client_of
from idempotency.tests.processes import server, until
from idempotency.tests.project.models import Account, Debit, User
from idempotency.tests.project.views import charge
from idempotency.tests.support import read_only, together
from idempotency.tests.test_costs import statements
from idempotency.tests.test_views import post

pytestmark = pytest.mark.django_db(transaction=True)

LONG_WINDOW = 31 * 24 * 3600


@pytest.fixture
def rate(settings: Any) -> Callable[[int], None]:
    def rate(limit: int, seconds: int = LONG_WINDOW) -> None:
        settings.IDEMPOTENCY = {"EXECUTION_RATE": (limit, seconds), "WAITING_THREADS_MAX": 8}

    return rate


@pytest.fixture
def hook() -> Iterator[Callable[..., None]]:
    """Have a function called at every failpoint of this process."""
    yield failpoints.install
    failpoints.install(None)


def counted() -> int:
    return sum(row.count for row in RateCount.objects.filter(subject__contains="execution:"))


@pytest.mark.parametrize("path", ["/rest/", "/plain/"])
def test_one_too_many_is_429_and_leaves_nothing(path: str, client: Client, rate: Any) -> None:
    rate(2)
    responses = [post(client, path, key=f"k{number}") for number in range(3)]

    assert [response.status_code // 100 for response in responses] == [2, 2, 4]
    assert responses[2].status_code == 429
    assert 1 <= int(responses[2]["Retry-After"]) <= LONG_WINDOW
    assert charges() == Record.objects.count() == counted() == 2


def test_a_refusal_says_that_the_same_key_may_try_again_and_it_may(
    client: Client, rate: Any
) -> None:
    rate(1)
    post(client, "/plain/", key="first")
    refused = post(client, "/plain/", key="second")
    assert refused.json()["same_key"] is refused.json()["retryable"] is True
    assert refused.json()["outcome"] == "none"

    rate(2)
    assert post(client, "/plain/", key="second").content == b"charged 2"


def test_forty_at_once_at_two_servers_are_ten_executions_and_thirty_429(
    client: Client, tmp_path: Path
) -> None:
    limits: dict[str, Any] = {"EXECUTION_RATE": [10, LONG_WINDOW]}
    with (
        server(tmp_path, **limits) as one,
        server(tmp_path, **limits) as other,
        ThreadPoolExecutor(40) as threads,
    ):
        clicks = [
            threads.submit(each.post, "/plain/", client, f"k{number}")
            for number, each in enumerate([one, other] * 20)
        ]
        responses = [click.result() for click in clicks]

    statuses = sorted(response.status for response in responses)
    assert statuses == [200] * 10 + [429] * 30
    assert all(int(r.headers["Retry-After"]) >= 1 for r in responses if r.status == 429)
    assert Record.objects.count() == charges() == counted() == 10


def test_forty_at_once_past_the_look_up_are_exact_too(
    alice: User, rate: Any, hook: Callable[..., None]
) -> None:
    """All have read a counter that is not full, and have had their effect, before anyone counts."""
    rate(3)
    executed = threading.Barrier(12, timeout=60)
    met = threading.local()

    def meet(point: str) -> None:
        if point == "executed" and not getattr(met, "once", False):
            met.once = True
            executed.wait()

    hook(meet)
    accounts = [Account.objects.create(owner_id=alice.pk, balance=OPENING) for _ in range(12)]

    def debit(number: int) -> Any:
        client = client_of(alice)
        path = f"/accounts/{accounts[number].pk}/debits/"
        return client.post(path, {"amount": 5}, headers={"Idempotency-Key": f"k{number}"})

    responses = together(12, debit)

    assert sorted(r.status_code for r in responses) == [201] * 3 + [429] * 9
    assert all(int(r["Retry-After"]) >= 1 for r in responses if r.status_code == 429)
    spent = 12 * OPENING - sum(
        each.balance for each in Account.objects.filter(pk__in=[a.pk for a in accounts])
    )
    assert spent == 3 * 5
    assert Record.objects.count() == Debit.objects.count() == counted() == 3


def test_a_high_limit_is_shared_by_counters_and_exact_all_the_same(
    client: Client, rate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limit, "SHARE_LEAST", 3)
    rate(10)
    shares = rate_limit.counters_of("execution:user:1", 10)
    assert [counter.limit for counter in shares] == [4, 3, 3]
    assert len({counter.subject for counter in shares}) == 3

    found = [post(client, "/plain/", key=f"k{number}").status_code for number in range(12)]

    assert found == [200] * 10 + [429] * 2
    assert sorted(row.count for row in RateCount.objects.all()) == [3, 3, 4]


def test_however_many_counters_are_full_one_statement_says_until_when(
    db: None, django_assert_num_queries: Any
) -> None:
    counters = rate_limit.counters_of("execution:user:1", 1_000)
    assert len(counters) == rate_limit.COUNTERS_MAX
    begins = timezone.now()
    rows = [(counters[0], 1, 400), (counters[1], 125, 300), (counters[2], 500, -1)]
    for (subject, _), count, seconds in rows:  # one that is not full, one that is, one that was
        ends_at = begins + timedelta(seconds=seconds)
        RateCount.objects.create(subject=subject, count=count, ends_at=ends_at)

    with django_assert_num_queries(1):
        assert 290 <= rate_limit.full_for(counters, using="default") <= 300


@pytest.mark.parametrize(
    ("counts", "ended", "free"),
    [((25, 25, 24), (), 2), ((25, 25, 25), (1,), 1), ((25, 25, 25), (), None)],
    ids=["not full", "full in a window that is over", "none"],
)
def test_a_counter_is_free_unless_it_is_full_in_this_window(
    counts: tuple[int, ...], ended: tuple[int, ...], free: int | None, db: None
) -> None:
    counters = rate_limit.counters_of("execution:user:1", 75)
    now = timezone.now()
    for place, (counter, count) in enumerate(zip(counters, counts, strict=True)):
        ends_at = now + timedelta(seconds=-1 if place in ended else 300)
        RateCount.objects.create(subject=counter.subject, count=count, ends_at=ends_at)
    RateCount.objects.create(subject="another", count=99, ends_at=now + timedelta(seconds=300))

    assert rate_limit.free_one(counters, using="default") == (
        None if free is None else counters[free]
    )


def test_over_the_limit_the_effect_does_not_even_begin(
    client: Client, rate: Any, passed_failpoints: list[str]
) -> None:
    rate(1)
    post(client, "/plain/", key="first")
    passed_failpoints.clear()
    assert post(client, "/plain/", key="second").status_code == 429
    assert passed_failpoints == []


def test_replays_are_not_counted_not_refused_and_write_nothing(client: Client, rate: Any) -> None:
    rate(1)
    for _ in range(3):
        assert post(client, "/plain/").content == b"charged 1"
    assert counted() == 1
    with read_only():
        assert post(client, "/plain/")["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize("path", ["/unavailable/", "/broken/"])
def test_what_is_rolled_back_is_not_counted(path: str, client: Client, rate: Any) -> None:
    rate(1)
    client.raise_request_exception = False
    assert post(client, path, key="failed").status_code >= 500
    assert counted() == 0
    assert post(client, "/plain/", key="k").status_code == 200


def test_a_key_in_use_is_409_and_not_counted(
    client: Client, rate: Any, alice: User, hold: Any
) -> None:
    rate(1)
    with hold(f"user:{alice.pk}"):
        assert post(client, "/plain/", headers={"Prefer": "wait=0"}).status_code == 409
    assert counted() == 0


def test_a_refused_request_keeps_its_token(client: Client, rate: Any) -> None:
    token = client.post("/api/tokens/").json()["token"]
    rate(1)
    post(client, "/plain/", key="first")
    assert post(client, "/plain/", key=token).status_code == 429
    assert Token.objects.count() == 1
    rate(2)
    assert post(client, "/plain/", key=token).content == b"charged 2"
    assert post(client, "/plain/", key=token)["Idempotent-Replayed"] == "true"
    assert not Token.objects.exists()
    assert counted() == 2


def test_a_token_that_is_gone_by_then_neither_counts_nor_stores(
    client: Client, rate: Any, at_failpoint: Callable[..., None]
) -> None:
    token = client.post("/api/tokens/").json()["token"]
    rate(5)
    other = connection.copy()

    def consume() -> None:
        with other.cursor() as cursor:
            cursor.execute("DELETE FROM idempotency_token")
        other.close()

    at_failpoint("executed", consume)
    assert post(client, "/plain/", key=token).status_code == 400
    assert (charges(), Record.objects.count(), counted()) == (0, 0, 0)


def test_each_scope_has_its_own_rate_and_functions_have_none(
    client: Client, as_bob: APIClient, rate: Any
) -> None:
    rate(1)
    assert post(client, "/plain/").status_code == 200
    assert post(client, "/plain/", key="second").status_code == 429
    assert as_bob.post("/rest/", {}, headers={"Idempotency-Key": "k"}).status_code == 201
    for number in range(3):
        run_once(scope="tasks", key=f"k{number}", call=charge)
    assert charges() == 5


def test_a_new_window_begins_from_one(client: Client, rate: Any) -> None:
    rate(1)
    post(client, "/plain/", key="first")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE idempotency_ratecount SET ends_at = now()")
    assert post(client, "/plain/", key="second").status_code == 200
    assert post(client, "/plain/", key="third").status_code == 429


def test_counting_costs_no_statement(client: Client, rate: Any) -> None:
    plain = len(statements(lambda: post(client, "/plain/", key="k1")))
    replay = len(statements(lambda: post(client, "/plain/", key="k1")))
    rate(10)
    assert len(statements(lambda: post(client, "/plain/", key="k2"))) == plain
    assert len(statements(lambda: post(client, "/plain/", key="k2"))) == replay
    assert counted() == 1
    assert len(statements(lambda: post(client, "/plain/", key="k3"))) == plain
    assert counted() == 2


@pytest.mark.parametrize("as_if", ["subject = 'execution:other'", "ends_at = now()"])
def test_a_full_counter_of_another_scope_or_window_costs_no_statement(
    as_if: str, client: Client, as_bob: APIClient, rate: Any
) -> None:
    rate(1)
    plain = len(statements(lambda: post(client, "/plain/")))
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE idempotency_ratecount SET {as_if}")
    assert len(statements(lambda: post(client, "/plain/", key="second"))) == plain


def test_a_counter_that_is_held_makes_nobody_wait_for_another_tab(
    debit: Debiting, account: Account, alice: User, rate: Any, passed_failpoints: list[str]
) -> None:
    """The subject is busy, so the effect may not wait for locks; a commit's counter it does."""
    rate(10)
    debit("earlier")
    claim = Claim(f"user:{alice.pk}", "other", subject=f"account:{account.pk}")
    tab, commit = connection.copy(), connection.copy()
    passed_failpoints.clear()

    def release_once_waited_for() -> None:
        try:
            until(_somebody_waits_for_the_counter, what="a request waits for the counter")
        finally:
            commit.rollback()

    with tab.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [claim.subject_lock])
        commit.inc_thread_sharing()
        commit.set_autocommit(False)
        commit.cursor().execute("UPDATE idempotency_ratecount SET count = count + 0")
        with ThreadPoolExecutor(1) as thread:
            released = thread.submit(release_once_waited_for)
            response = debit("later", prefer="wait=0")
            released.result()
    tab.close()
    commit.close()

    assert response.status_code == 201
    assert passed_failpoints.count("executed") == 1
    assert (Debit.objects.count(), counted()) == (2, 2)


def _somebody_waits_for_the_counter() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            " AND query LIKE '%idempotency_ratecount%' AND datname = current_database())"
        )
        found: bool = cursor.fetchone()[0]
    connection.close()
    return found


def test_a_limit_that_looks_before_it_counts_lets_all_through(rate: Any) -> None:
    """The naive version under the same schedule: everybody looks before anybody counts."""
    looked = threading.Barrier(12, timeout=60)

    def execute(_: int) -> bool:
        allowed = counted() < 3
        looked.wait()
        if allowed:
            charge()
        return allowed

    assert sum(together(12, execute)) == charges() == 12
