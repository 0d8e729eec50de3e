"""Which database sessions of a web server stay open when it is quiet."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.backends.signals import connection_created

from orders.models import Order
from payments.models import Account
from tests.support.api_tokens import api_token_of
from tests.support.live import Caller, LiveServer, until
from web.server import warm
from web.server.warm import WARM_SECONDS, WARM_THREADS, connect_for_long, keep_warm

pytestmark = pytest.mark.django_db(transaction=True)

SESSIONS = """
SELECT pid FROM pg_stat_activity
 WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


def sessions() -> set[int]:
    with connection.cursor() as cursor:
        cursor.execute(SESSIONS)
        return {pid for (pid,) in cursor.fetchall()}


@pytest.fixture
def connects() -> Iterator[None]:
    """Connect anew with what a web server's worker installs, and without it afterwards."""
    connection_created.connect(connect_for_long)
    connection.close()
    yield
    connection_created.disconnect(connect_for_long)
    warm._here.__dict__.clear()
    connection.close()


def idle_seconds() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SHOW idle_session_timeout")
        return str(cursor.fetchone()[0])


def test_the_first_threads_sessions_may_be_idle_for_long(connects: None) -> None:
    keep_warm(WARM_THREADS)
    assert idle_seconds() == "1h"
    assert connection.close_at is not None
    assert connection.close_at > time.monotonic() + WARM_SECONDS / 2


@pytest.mark.parametrize("number", [WARM_THREADS + 1, 100])
def test_the_others_are_as_configured(connects: None, number: int) -> None:
    keep_warm(number)
    assert idle_seconds() == "0"


def test_behind_a_pooler_no_session_is_changed(
    connects: None, settings: pytest.FixtureRequest
) -> None:
    settings.DATABASE_POOLER = True  # type: ignore[attr-defined]
    keep_warm(1)
    assert idle_seconds() == "0"


def test_what_a_storm_opened_is_given_back_and_a_few_stay(
    tmp_path: Path, alice: User, alice_account: Account, place: Callable[..., Order]
) -> None:
    orders = [place(customer=alice, quantity=1) for _ in range(6)]
    before = sessions()
    with (
        LiveServer(
            database=connection.get_connection_params(),
            folder=tmp_path,
            workers=1,
            threads=12,
            DATABASE_IDLE_SECONDS="1",
        ) as server,
        ThreadPoolExecutor(6) as clients,
    ):
        caller = Caller(server.url, api_token_of(alice))
        server.arm("order-claimed", "hold", times=6)
        clicks = [
            clients.submit(
                caller.post,
                f"/api/v1/orders/{order.pk}/pay/",
                {"account": alice_account.pk},
                key=uuid4().hex,
            )
            for order in orders
        ]
        until(lambda: server.hits("order-claimed") == 6, what="six are in the database at once")
        assert len(sessions() - before) >= 6
        server.release("order-claimed")
        assert [click.result().status for click in clicks] == [200] * 6
        until(
            lambda: len(sessions() - before) <= WARM_THREADS + 1, what="the storm's are given back"
        )
        assert len(sessions() - before) >= WARM_THREADS
