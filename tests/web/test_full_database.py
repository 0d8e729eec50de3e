"""A database whose disk is full: that of its tables, and that of its write-ahead log."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from tests.support.live import until
from tests.support.outages import (
    LATER_SECONDS_MAX,
    RECOVERY_SECONDS_MAX,
    Received,
    Response,
    Shop,
    open_shop,
    seconds_until,
    timed,
)
from tests.support.own_postgres import OwnPostgres, filled, own_postgres, small_disk

CLICKS_MAX = 5_000  # by then no table has a page left that is not full
SEGMENT_BYTES = 16 * 1024 * 1024  # of the write-ahead log
LEFT_BYTES = 100_000  # some orders' worth
WRITE_LOG = "SELECT pg_logical_emit_message(false, 'tests', repeat('x', %s))"


@contextmanager
def without_space(disk: Path, shop: Shop) -> Iterator[list[str]]:
    """Fill a disk and place orders until one gets no room; yield the keys that were refused."""
    refused: list[str] = []

    def place(key: str) -> None:
        if not refused and shop.place(key=key).status != 201:
            refused.append(key)

    with filled(disk):
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(place, (uuid4().hex for _ in range(CLICKS_MAX))))
        assert refused, "the disk is really full"
        yield refused


def assert_refused_in_time(received: list[Received]) -> None:
    assert {each.status for each in received} == {503}
    assert {each.headers["Retry-After"] for each in received} == {"2"}
    assert max(each.seconds for each in received) < LATER_SECONDS_MAX


def assert_as_before(shop: Shop, workers: set[int], keys: list[str]) -> None:
    """Assert that the same processes serve, that a retry succeeds once, and that all is right."""
    assert seconds_until(shop.serves, what="the shop serves") < RECOVERY_SECONDS_MAX
    first, then = ([shop.place(key=key) for key in keys] for _ in range(2))
    assert {each.status for each in first} == {201}
    assert [each.data for each in first] == [each.data for each in then]
    assert shop.workers() == workers
    shop.postgres.manage("audit")


def test_a_full_disk_of_the_tables_is_503_for_writes_while_reads_and_replays_go_on(
    tmp_path: Path,
) -> None:
    with small_disk(megabytes=20) as disk, own_postgres() as postgres:
        postgres.execute(f"CREATE TABLESPACE small LOCATION '{disk}'", dbname="postgres")
        with open_shop(postgres, tmp_path, tablespace="small", workers=2, threads=8) as shop:
            order, key, workers = shop.order(), uuid4().hex, shop.workers()
            paid, balance = shop.pay(order, key=key), shop.balance()
            with without_space(disk, shop) as keys:
                received = [timed("place", shop.place) for _ in range(5)]
                replay, listed, still = shop.pay(order, key=key), orders(shop), shop.balance()
            assert "53100" in shop.server.log.read_text(), "that was the reason"
            assert_as_before(shop, workers, keys)

    assert_refused_in_time(received)
    assert (replay.status, replay.data) == (200, paid.data)
    assert listed.status == 200
    assert still == balance


def orders(shop: Shop) -> Response:
    return shop.get("/api/v1/orders/")


def test_a_full_disk_of_the_log_is_503_until_the_database_is_started_with_room(
    tmp_path: Path,
) -> None:
    with small_disk(megabytes=40) as disk, own_postgres(pg_wal=disk) as postgres:
        with open_shop(postgres, tmp_path, workers=2, threads=8) as shop:
            workers, placed = shop.workers(), shop.order()
            write_log_up_to_the_end_of_a_file(postgres)
            with without_space(disk, shop) as keys:
                until(lambda: postgres.cluster.state() == "stopped", what="the server gave up")
                received = [timed("place", shop.place) for _ in range(5)]
                received += [
                    timed("read", lambda: orders(shop)),
                    timed("ready", lambda: ready(shop)),
                ]
            postgres.cluster.start()
            assert_as_before(shop, workers, keys)
            assert shop.get(f"/api/v1/orders/{placed}/").status == 200
        log = postgres.cluster.log.read_text()

    assert "PANIC" in log
    assert "No space left on device" in log
    assert_refused_in_time(received)


def ready(shop: Shop) -> Response:
    return shop.get("/readyz")


def write_log_up_to_the_end_of_a_file(postgres: OwnPostgres) -> None:
    """Have the next few orders need a new file of the log."""
    ((offset,),) = postgres.execute(
        "SELECT file_offset FROM pg_walfile_name_offset(pg_current_wal_insert_lsn())"
    )
    postgres.execute(WRITE_LOG.replace("%s", str(SEGMENT_BYTES - offset - LEFT_BYTES)))
