"""Lists are read from a replica that is behind; what decides about money and keys never is."""

from collections.abc import Iterator

import pytest
import urllib3
from django.conf import settings
from django.db import OperationalError
from psycopg.errors import QueryCanceled, SerializationFailure

from tests.support.browserless import Visitor, signed_in
from tests.support.live import database_url, until
from tests.support.outages import Shop, open_shop
from tests.support.own_postgres import OwnPostgres, own_postgres, standby_of
from web.database import replica

TEA = "UPDATE orders_product SET name = 'Black tea' WHERE sku = 'TEA'"


@pytest.fixture(scope="module")
def standby(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Shop, OwnPostgres]]:
    folder = tmp_path_factory.mktemp("replica")
    with own_postgres() as postgres, standby_of(postgres) as behind:
        replica_url = database_url(behind.parameters)
        with open_shop(postgres, folder, DATABASE_REPLICA_URL=replica_url) as shop:
            yield shop, behind


@pytest.fixture
def paused(standby: tuple[Shop, OwnPostgres]) -> Iterator[Shop]:
    """Return a shop whose replica shows what was true when the test began."""
    shop, behind = standby
    behind.execute("SELECT pg_wal_replay_pause()")
    until(lambda: behind.execute("SELECT pg_get_wal_replay_pause_state()") == [("paused",)])
    yield shop
    behind.execute("SELECT pg_wal_replay_resume()")
    (position,) = shop.postgres.execute("SELECT pg_current_wal_lsn()")[0]
    caught_up = f"SELECT pg_last_wal_replay_lsn() >= '{position}'"
    until(lambda: behind.execute(caught_up) == [(True,)], what="the replica has caught up")


@pytest.fixture
def boss(standby: tuple[Shop, OwnPostgres]) -> Visitor:
    """An operator who has signed in through the admin."""
    shop, _ = standby
    return signed_in(shop.server.url, username="admin", password="only-for-the-demo")


def test_what_decides_is_read_where_it_was_written(paused: Shop) -> None:
    """An order that the replica does not know is paid, once, and its replay is the first response.

    So are signing in by a token that it does not know either, and the lists of one's own orders.
    """
    placed = paused.place(key="placing")
    order = str(placed.json()["id"])
    assert paused.place(key="placing").data == placed.data

    first, second = (paused.pay(order, key="paying") for _ in range(2))
    other = paused.pay(order, key="another")

    assert (first.status, second.status, other.status) == (200, 200, 409)
    assert second.headers["Idempotent-Replayed"] == "true"
    assert first.data == second.data
    assert paused.alice.get(f"/api/v1/orders/{order}/").json()["status_label"] == "paid"
    newest = paused.alice.get("/api/v1/orders/").json()["results"][0]
    assert (newest["id"], newest["status_label"]) == (order, "paid")
    statement = f"SELECT count(*) FROM payments_payment WHERE order_id = '{order}'"
    assert paused.postgres.execute(statement) == [(1,)]


def test_the_catalogue_and_the_lists_of_the_admin_are_read_from_the_replica(
    paused: Shop, boss: Visitor
) -> None:
    lists = ["/admin/orders/order/", "/admin/dashboard/?q=alice"]
    before = [boss.open(address).text.count("order/01") for address in lists]
    order = paused.order()
    paused.postgres.execute(TEA)
    try:
        shown = urllib3.request("GET", f"{paused.server.url}/api/v1/products/").json()
        page = urllib3.request("GET", f"{paused.server.url}/").data.decode()
        after = [boss.open(address).text for address in lists]
    finally:
        paused.postgres.execute(TEA.replace("Black", "Green"))

    assert "Green tea" in [each["name"] for each in shown["results"]]
    assert "Green tea" in page
    assert not any(order in text for text in after), "the replica stood still before"
    assert [text.count("order/01") for text in after] == before
    assert order in boss.open(f"/admin/orders/order/{order}/change/").text, "one order is no list"


def test_who_may_view_is_decided_on_the_primary(paused: Shop, boss: Visitor) -> None:
    assert boss.open("/admin/orders/order/").status == 200
    demoted = "UPDATE auth_user SET is_superuser = {} WHERE username = 'admin'"
    paused.postgres.execute(demoted.format("false"))
    try:
        assert boss.open("/admin/orders/order/").status == 403
    finally:
        paused.postgres.execute(demoted.format("true"))


def test_where_the_replica_is_gone_the_primary_shows_the_lists(
    standby: tuple[Shop, OwnPostgres], boss: Visitor
) -> None:
    shop, behind = standby
    order = shop.order()
    behind.cluster.stop()
    try:
        catalogue = urllib3.request("GET", f"{shop.server.url}/api/v1/products/")
        orders = boss.open("/admin/orders/order/")
    finally:
        behind.cluster.start()

    assert catalogue.status == orders.status == 200
    assert order in orders.text
    assert "the replica failed: read from the primary" in shop.server.log.read_text()


def test_a_statement_that_took_too_long_is_not_tried_on_the_primary(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(settings.DATABASES, replica.REPLICA, {})
    read_from: list[str] = []

    def read(cause: Exception) -> str:
        read_from.append(replica.Router().db_for_read(None))
        if read_from[-1] == replica.REPLICA:
            raise OperationalError from cause
        return "read"

    with pytest.raises(OperationalError):
        replica.from_replica(lambda: read(QueryCanceled()))
    assert read_from == ["replica"]
    assert replica.from_replica(lambda: read(SerializationFailure())) == "read"
    assert read_from == ["replica", "replica", "default"]
    assert replica.Router().db_for_write(None) == "default"
