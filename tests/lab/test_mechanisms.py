"""Claims of the mechanisms' docstrings that no scenario checks."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from django.db import connection

from lab.harness import second_database
from lab.harness.bank import ClickRefused, PayClick, execute, row
from lab.harness.cluster import LabCluster
from lab.harness.scenario_run import PLENTY, ScenarioRun
from lab.harness.scheduler import LabError, Scheduler
from lab.harness.store import PREFIX, CountingRedis
from tests.lab.conftest import need_second_database
from tests.support.tiers import starts_processes
from tests.support.together import together

OPENING = 1000
CLICK = PayClick(
    order="order-1",
    account=7,
    amount=100,
    balance_after=900,
    request_id="request-1",
    token="",
    lease_seconds=5.0,
)
FIRST = "100 paid, 900 left"

Tables = Callable[[str], Any]


@pytest.fixture
def open_shop(tables: Tables) -> Tables:
    """Make a mechanism's tables with an account of 1000 and an order."""

    def open_shop(mechanism: str) -> Any:
        module = tables(mechanism)
        execute("INSERT INTO account VALUES (%(account)s, 1000)", CLICK)
        if hasattr(module, "ORDER"):
            execute(module.ORDER, CLICK)
        return module

    return open_shop


def balance() -> int:
    account = row("SELECT balance FROM account WHERE id = %(account)s", CLICK)
    assert account is not None
    return int(account[0])


@pytest.mark.parametrize("mechanism", ["order_id", "request_id"])
def test_a_key_that_comes_with_another_amount_is_refused(mechanism: str, open_shop: Tables) -> None:
    shop = open_shop(mechanism)
    shop.pay(CLICK)
    with pytest.raises(ClickRefused):
        shop.pay(replace(CLICK, amount=50))
    assert shop.pay(CLICK) == FIRST
    assert balance() == 900


def test_the_interceptor_refuses_a_key_that_comes_with_another_amount(
    open_shop: Tables, rf: Any
) -> None:
    shop = open_shop("interceptor")

    def pay(click: PayClick) -> Any:
        body = {name: value for name, value in vars(click).items() if name != "http"}
        request = rf.post(
            "/pay", body, "application/json", headers={"Idempotency-Key": click.request_id}
        )
        return shop.pay(replace(click, http=request))

    assert pay(CLICK) == FIRST
    with pytest.raises(ClickRefused, match="422"):
        pay(replace(CLICK, amount=50))
    assert pay(CLICK) == FIRST
    assert balance() == 900


def test_an_order_at_1_is_pending_and_the_call_succeeds_without_a_charge(
    open_shop: Tables,
) -> None:
    shop = open_shop("state_machine")
    execute("UPDATE purchase SET status = 1, request_id = 'another'", CLICK)
    assert shop.pay(CLICK) == "pending"
    assert balance() == OPENING


def test_an_order_at_2_returns_its_receipt_to_its_own_request_and_refuses_any_other(
    open_shop: Tables,
) -> None:
    shop = open_shop("state_machine")
    assert shop.pay(CLICK) == FIRST
    assert shop.pay(CLICK) == FIRST
    with pytest.raises(ClickRefused, match="settled"):
        shop.pay(replace(CLICK, request_id="request-2"))
    assert row("SELECT status FROM purchase", CLICK) == (2,)
    assert balance() == 900


def test_an_order_without_the_money_ends_at_3_and_stays_there(open_shop: Tables) -> None:
    shop = open_shop("state_machine")
    dear = replace(CLICK, amount=2 * OPENING)
    for _ in range(2):
        with pytest.raises(ClickRefused, match="not enough money"):
            shop.pay(dear)
    with pytest.raises(ClickRefused, match="settled"):
        shop.pay(replace(CLICK, request_id="request-2"))
    assert row("SELECT status FROM purchase", CLICK) == (3,)
    assert balance() == OPENING


def test_an_order_that_is_not_there_is_refused(open_shop: Tables) -> None:
    shop = open_shop("state_machine")
    with pytest.raises(ClickRefused, match="no such order"):
        shop.pay(replace(CLICK, order="order-2"))
    assert balance() == OPENING


def test_deleting_and_reading_twice_is_as_good_as_once(open_shop: Tables) -> None:
    shop = open_shop("natural")
    assert [shop.pay(CLICK), shop.pay(CLICK)] == [FIRST, FIRST]
    assert row("SELECT count(*) FROM basket", CLICK) == (0,)


@starts_processes
@pytest.mark.parametrize("mechanism", ["token_local", "token_database", "token_redis"])
def test_a_token_is_of_no_use_to_another_account(
    mechanism: str, open_shop: Tables, request: pytest.FixtureRequest
) -> None:
    if mechanism == "token_redis":
        request.getfixturevalue("redis")
    shop = open_shop(mechanism)
    mine = replace(CLICK, token=shop.issue(CLICK))
    with pytest.raises(ClickRefused):
        shop.pay(replace(mine, account=8))
    assert shop.pay(mine) == FIRST


@pytest.fixture
def cluster(transactional_db: None, redis: CountingRedis, _redis: str) -> Iterator[LabCluster]:
    mechanisms = ["token_local", "token_database", "token_redis"]
    with LabCluster(mechanisms, _redis, clicks=70) as cluster:
        yield cluster


@pytest.mark.parametrize("mechanism", ["token_local", "token_database", "token_redis"])
def test_of_seventy_tokens_asked_for_at_once_sixty_are_issued(
    mechanism: str, cluster: LabCluster
) -> None:
    def ask(run: ScenarioRun, _: int) -> str:
        try:
            return run.load_page().token
        except LabError as refused:
            return str(refused)

    with Scheduler() as scheduler:
        while True:  # until it all falls into one minute
            minute = time.time() // 60
            run = ScenarioRun(cluster, mechanism, scheduler, clicks=1, opening_balance=PLENTY)
            results = together(70, partial(ask, run))
            if time.time() // 60 == minute:
                break
    refused = [result for result in results if "too many tokens" in result]
    assert len(refused) == 10
    assert len(set(results) - set(refused)) == 60


def test_a_fence_that_is_older_than_the_accounts_charges_nothing(
    open_shop: Tables, redis: CountingRedis
) -> None:
    shop = open_shop("distributed_lock")
    execute("UPDATE account SET fence = 1000000000", CLICK)
    with pytest.raises(ClickRefused):
        shop.pay(CLICK)
    assert balance() == OPENING


def test_an_owner_whose_lock_expired_does_not_release_the_next_ones(
    open_shop: Tables, redis: CountingRedis, at_failpoint: Callable[..., None]
) -> None:
    shop, lock = open_shop("distributed_lock"), f"{PREFIX}lock:{CLICK.account}"
    at_failpoint("checked", lambda: redis.set(lock, "somebody else"))
    assert shop.pay(CLICK) == FIRST
    assert redis.get(lock) == b"somebody else"
    redis.delete(lock)


def test_a_lock_is_released(open_shop: Tables, redis: CountingRedis) -> None:
    shop, lock = open_shop("distributed_lock"), f"{PREFIX}lock:{CLICK.account}"
    shop.pay(CLICK)
    assert redis.get(lock) is None
    with connection.cursor() as cursor:
        cursor.execute("SELECT fence FROM account")
        assert cursor.fetchone()[0] > 0


@pytest.fixture
def two_databases(transactional_db: None) -> Iterator[LabCluster]:
    need_second_database()
    with LabCluster(["distributed_transaction"], None, clicks=2) as cluster:
        yield cluster


def orders_recorded(cluster: LabCluster) -> int:
    with second_database.session(second_database.name_of(cluster.settings.prefix)) as second:
        (orders,) = second.execute("SELECT count(*) FROM purchase").fetchone() or (-1,)
    return int(str(orders))


@pytest.mark.parametrize(
    ("failpoint", "charges"),
    [("half-prepared", 0), ("before-commit", 0), ("half-committed", 1), ("after-commit", 1)],
)
def test_a_distributed_transaction_killed_anywhere_is_resolved_to_both_or_to_neither(
    failpoint: str, charges: int, two_databases: LabCluster
) -> None:
    with Scheduler() as scheduler:
        run = ScenarioRun(
            two_databases, "distributed_transaction", scheduler, clicks=2, opening_balance=PLENTY
        )
        page = run.load_page(lease_seconds=0.1)
        run.click(page, server=0, actions={failpoint: "kill"})
        run.results()
        two_databases.replace_killed(0)
        left = int(run._post(page, "resolve", server=1).text.split()[0])

        assert left == {"half-prepared": 1, "before-commit": 2, "half-committed": 1}.get(
            failpoint, 0
        )
        assert run._post(page, "resolve", server=1).text == "0 resolved"
        assert orders_recorded(two_databases) == run.count_charges() == charges


def test_what_a_killed_process_had_prepared_locks_the_account_until_it_is_resolved(
    two_databases: LabCluster,
) -> None:
    with Scheduler() as scheduler:
        run = ScenarioRun(
            two_databases, "distributed_transaction", scheduler, clicks=2, opening_balance=PLENTY
        )
        page = run.load_page(lease_seconds=0.1)
        run.click(page, server=0, actions={"before-commit": "kill"})
        run.results()
        two_databases.replace_killed(0)

        locked = run._post(page, "pay", server=1)
        assert (locked.status, locked.text) == (
            409,
            "the account is locked by what nobody has resolved",
        )
        run._post(page, "resolve", server=1)
        assert run._post(page, "pay", server=1).status == 200


PREPARE = "BEGIN; CREATE TABLE of_this_test (id int); PREPARE TRANSACTION '{}'"
PREPARED = "SELECT gid FROM pg_prepared_xacts WHERE database = current_database() ORDER BY gid"


@pytest.mark.usefixtures("transactional_db")
def test_what_killed_runs_prepared_and_created_is_removed_and_nothing_else() -> None:
    need_second_database()
    database = str(connection.settings_dict["NAME"])
    killed, live, foreign = "lab_00000000_order", "lab_11111111_order", "foreign_order"
    with second_database.session(database, name="lab_11111111") as session:
        session.execute("CREATE DATABASE lab_00000000_orders TEMPLATE template0")
        for gid in (killed, live, foreign):
            with second_database.session(database) as its_own:
                its_own.execute(PREPARE.format(gid).replace("of_this_test", gid))
        try:
            second_database.clean_up(ended=None)
            assert [gid for (gid,) in session.execute(PREPARED)] == [foreign, live]
            second_database.clean_up(ended="lab_11111111")
            assert [gid for (gid,) in session.execute(PREPARED)] == [foreign]
        finally:
            session.execute(f"ROLLBACK PREPARED '{foreign}'")
        exists = "SELECT FROM pg_database WHERE datname = 'lab_00000000_orders'"
        assert session.execute(exists).fetchone() is None


@pytest.mark.usefixtures("transactional_db")
def test_a_run_lives_on_for_others_whatever_sessions_it_has_just_now() -> None:
    need_second_database()
    with LabCluster({"distributed_transaction"}, None, clicks=1) as cluster:
        connection.close()
        second_database.clean_up(ended=None)
        second_database.session(second_database.name_of(cluster.settings.prefix)).close()
