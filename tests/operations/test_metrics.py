"""Metrics and logs: every response is counted once, by any worker, and no secret is logged."""

import io
import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import structlog
import urllib3
from django.apps import apps
from django.contrib.auth.models import Permission, User
from django.db import OperationalError, connection
from django.db.models.functions import Now
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families
from rest_framework.test import APIClient

from idempotency import signals
from idempotency.models import Record
from orders.models import Order, PaymentRequest
from payments.models import Account
from payments.services import open_account
from tests.conftest import LONG_WINDOW
from tests.support.api_tokens import api_token_of
from tests.support.live import ROOT, Caller, LiveServer, until
from tests.support.together import together

PAY_ROUTE = "/api/v1/orders/<uuid:order_id>/pay/"
Labels = frozenset[tuple[str, str]]


class Scraped(dict[tuple[str, Labels], float]):
    """One scrape: a number for each name and its labels."""

    @classmethod
    def of(cls, text: str) -> "Scraped":
        return cls(
            ((sample.name, frozenset(sample.labels.items())), sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        )

    def value(self, name: str, **labels: str) -> float:
        return self.get((f"charge_once_{name}", frozenset(labels.items())), 0)

    def __sub__(self, earlier: "Scraped") -> "Scraped":
        """Return what grew."""
        grown = {key: value - earlier.get(key, 0) for key, value in self.items()}
        return Scraped({key: value for key, value in grown.items() if value})


def scrape() -> Scraped:
    response = Client().get("/metrics")
    assert response.status_code == 200
    assert response["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return Scraped.of(response.content.decode())


def pay(client: APIClient, order: Order, account: Account, *, key: str, **headers: str) -> Any:
    return client.post(
        f"/api/v1/orders/{order.pk}/pay/",
        {"account": account.pk},
        headers={"Idempotency-Key": key, **headers},
    )


@pytest.fixture
def service(db: None, sign_in: Callable[[User], APIClient]) -> APIClient:
    user = User.objects.create_user("order-service")
    user.user_permissions.add(Permission.objects.get(codename="charge"))
    return sign_in(user)


@pytest.fixture
def remote(settings: Any) -> None:
    """The payment system is another process, which gets no request here."""
    settings.PAYMENTS_URL = "http://payments.example"


# --- Counters


def test_pays_are_counted_by_their_status_and_replays_beside_them(
    as_alice: APIClient, alice: User, alice_account: Account, place: Callable[..., Order]
) -> None:
    order, before = place(customer=alice), scrape()

    for key in ("one", "one", "one", "two"):
        pay(as_alice, order, alice_account, key=key)

    grown = scrape() - before
    assert grown.value("pays_total", status="200") == 3
    assert grown.value("pays_total", status="409") == 1
    assert grown.value("replays_total", route=PAY_ROUTE) == 2
    timed = {"method": "POST", "route": PAY_ROUTE}
    assert grown.value("request_duration_seconds_count", **timed, status="200") == 3
    assert 0 < grown.value("request_duration_seconds_sum", **timed, status="200") < 30


def test_a_decline_is_counted_once_however_often_it_is_replayed(
    as_alice: APIClient, alice: User, place: Callable[..., Order]
) -> None:
    empty = open_account(owner=alice, currency="EUR", opening_balance=0)
    order, before = place(customer=alice), scrape()

    for key in ("one", "one", "two"):
        pay(as_alice, order, empty, key=key)

    grown = scrape() - before
    assert grown.value("declines_total") == 1
    assert grown.value("pays_total", status="402") == 2
    assert grown.value("key_conflicts_total", problem="idempotency-key-reused") == 0


def test_a_key_that_named_another_request_is_counted_as_a_conflict(
    as_alice: APIClient, alice: User, alice_account: Account, place: Callable[..., Order]
) -> None:
    before = scrape()

    for _ in range(2):
        pay(as_alice, place(customer=alice), alice_account, key="one")

    grown = scrape() - before
    assert grown.value("key_conflicts_total", problem="idempotency-key-reused") == 1
    assert grown.value("pays_total", status="422") == 1


def test_who_came_too_often_is_counted(db: None, settings: Any) -> None:
    settings.SIGN_IN_RATE = (1, LONG_WINDOW)
    before = scrape()

    for _ in range(3):
        APIClient().post("/api/v1/sign-in/", {"username": "alice", "password": "wrong"})

    assert (scrape() - before).value("rate_limited_total", route="/api/v1/sign-in/") == 2


def test_the_payment_systems_own_payments_are_counted_by_outcome_and_duplicates_are_not(
    service: APIClient, alice_account: Account
) -> None:
    before = scrape()

    for order_id, amount in ((1, 100), (1, 100), (2, 100), (3, 10**9)):
        terms = {"account_id": alice_account.pk, "amount": amount, "currency": "EUR"}
        service.post("/api/v1/payments/", {"order_id": f"{order_id:032x}", **terms})

    grown = scrape() - before
    assert grown.value("payments_total", outcome="succeeded") == 2
    assert grown.value("payments_total", outcome="declined") == 1
    assert grown.value("replays_total", route="/api/v1/payments/") == 1


def test_a_label_is_a_pattern_or_a_known_word_and_never_what_a_client_sent(
    as_alice: APIClient,
) -> None:
    before = scrape()

    as_alice.get(f"/api/v1/orders/{uuid4()}/")
    as_alice.get(f"/nowhere/{uuid4()}")
    as_alice.generic("BREW", "/api/v1/products/")

    grown = scrape() - before
    name = "request_duration_seconds_count"
    order = "/api/v1/orders/<uuid:order_id>/"
    assert grown.value(name, method="GET", route=order, status="404") == 1
    assert grown.value(name, method="GET", route="unmatched", status="404") == 1
    assert grown.value(name, method="other", route="/api/v1/products/", status="405") == 1


def test_probes_and_scrapes_are_not_counted(db: None) -> None:
    before = scrape()
    for path in ("/healthz", "/readyz", "/metrics"):
        Client().get(path)
    assert scrape() - before == {}


def test_what_never_happened_is_shown_as_nothing(db: None) -> None:
    shown = {name for name, _ in scrape()}
    assert {"charge_once_pays_total", "charge_once_key_conflicts_total"} <= shown
    assert not any(name.endswith("_created") for name in shown)


# --- The backlog


def test_the_backlog_is_read_from_the_database_at_each_scrape(
    as_alice: APIClient,
    alice: User,
    alice_account: Account,
    place: Callable[..., Order],
    remote: None,
) -> None:
    orders = [place(customer=alice) for _ in range(6)]
    for order in orders:
        assert pay(as_alice, order, alice_account, key=order.pk.hex, Prefer="wait=0")
    age("orders_order", "updated_at", place(customer=alice), seconds=900)  # it is not paying
    age("orders_paymentrequest", "created_at", orders[0], seconds=90)
    age("orders_order", "updated_at", orders[1], seconds=300)
    rows = PaymentRequest.objects
    rows.filter(pk=orders[2].pk).update(attempts=3, last_error="ReadTimeoutError")
    rows.filter(pk=orders[3].pk).update(attempts=2, last_error="403", dead_lettered=True)
    rows.filter(pk=orders[4].pk).update(attempts=0, last_error="403", dead_lettered=True)
    rows.filter(pk=orders[5].pk).update(attempts=5, last_error="x", settled_at=Now(), response={})

    now = scrape()

    assert now.value("database_up") == 1
    assert now.value("outbox_open") == 3
    assert now.value("outbox_oldest_seconds") == pytest.approx(90, abs=20)
    assert now.value("outbox_stuck") == 1
    assert now.value("outbox_unknown") == 1
    assert now.value("outbox_dead_lettered") == 2
    assert now.value("outbox_open_retries") == 2
    assert now.value("outbox_retries_total") == 7
    assert now.value("orders_paying") == 6
    assert now.value("orders_paying_oldest_seconds") == pytest.approx(300, abs=20)


def age(table: str, column: str, order: Order, *, seconds: int) -> None:
    key = "id" if table == "orders_order" else "order_id"
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {table} SET {column} = now() - make_interval(secs => %s) WHERE {key} = %s",
            [seconds, order.pk],
        )


def test_nothing_waits_in_an_empty_outbox(db: None) -> None:
    now = scrape()
    assert now.value("database_up") == 1
    for name in ("open", "oldest_seconds", "stuck", "unknown", "dead_lettered", "retries_total"):
        assert now[f"charge_once_outbox_{name}", frozenset()] == 0


def test_a_database_that_is_down_leaves_the_gauges_out_and_the_counters_in(
    monkeypatch: pytest.MonkeyPatch, db: None
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise OperationalError("connection refused")

    with monkeypatch.context() as patch:
        patch.setattr(connection, "cursor", refuse)
        now = scrape()

    assert now["charge_once_database_up", frozenset()] == 0
    assert ("charge_once_outbox_open", frozenset()) not in now
    assert ("charge_once_pays_total", frozenset({("status", "200")})) in now


def test_the_payment_system_has_no_outbox_to_measure(
    monkeypatch: pytest.MonkeyPatch, db: None
) -> None:
    monkeypatch.setattr(apps, "is_installed", lambda name: name != "orders")
    now = scrape()
    assert now.value("database_up") == 1
    assert ("charge_once_outbox_open", frozenset()) not in now


# --- Logs


@contextmanager
def lines() -> Iterator[list[Any]]:
    """Collect what is logged, with what is bound to it."""
    with structlog.testing.capture_logs([structlog.contextvars.merge_contextvars]) as captured:
        yield captured


def test_a_request_is_one_line_that_names_its_order_and_its_key(
    as_alice: APIClient, alice: User, alice_account: Account, place: Callable[..., Order]
) -> None:
    order = place(customer=alice)

    with lines() as logged:
        for _ in range(2):
            pay(as_alice, order, alice_account, key="one", **{"X-Request-Id": "trace-1"})

    first, second = logged
    made = {name: first.pop(name) for name in ("record", "stored_status", "subject")}
    record = bytes(Record.objects.get().identity).hex()
    assert made == {"record": record, "stored_status": 200, "subject": f"order:{order.pk}"}
    ms, ms_of_replay = first.pop("ms"), second.pop("ms")
    assert ms > 0
    assert ms_of_replay > 0
    assert first == {
        "event": "responded",
        "log_level": "info",
        "request_id": "trace-1",
        "key_digest": "7692c3ad3540",  # sha256("one")
        "order_id": str(order.pk),
        "method": "POST",
        "path": f"/api/v1/orders/{order.pk}/pay/",
        "status": 200,
        "user": alice.pk,
        "replayed": False,
    }
    assert second == first | {"replayed": True}


def test_an_operation_without_a_request_leaves_its_names_on_no_later_line() -> None:
    signals.executed.send(None, identity=b"one", subject="order:1", status=200)

    assert structlog.contextvars.get_contextvars() == {}


def test_every_line_of_a_request_carries_its_names_and_none_of_the_next_request(
    as_alice: APIClient, alice: User, monkeypatch: pytest.MonkeyPatch, alice_account: Account
) -> None:
    def fail(**_: Any) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr("orders.services.pay_order", fail)
    order_id = uuid4()

    with lines() as logged:
        as_alice.post(
            f"/api/v1/orders/{order_id}/pay/",
            {"account": alice_account.pk},
            headers={"Idempotency-Key": "one"},
        )
        as_alice.get("/api/v1/products/")

    *of_first, of_second = logged
    assert len(of_first) > 1
    for line in of_first:
        assert (line["order_id"], line["key_digest"]) == (str(order_id), "7692c3ad3540")
    assert len({line["request_id"] for line in of_first}) == 1
    assert of_second["request_id"] != of_first[0]["request_id"]
    assert not {"order_id", "key_digest"} & of_second.keys()
    assert structlog.contextvars.get_contextvars() == {}


@pytest.mark.parametrize(
    ("sent", "known"), [("7692c3ad3540", "7692c3ad3540"), ("7692c3ad3540\n", None), ("one", None)]
)
def test_the_payment_system_logs_the_names_that_the_order_system_sent(
    sent: str, known: str | None, service: APIClient, alice_account: Account
) -> None:
    order_id = str(uuid4())
    body = {"account_id": alice_account.pk, "amount": 5, "currency": "EUR", "order_id": order_id}
    headers = {"X-Request-Id": "trace-1", "X-Key-Digest": sent}

    with lines() as logged:
        service.post("/api/v1/payments/", body, headers=headers)

    (line,) = logged
    assert (line["request_id"], line["order_id"]) == ("trace-1", order_id)
    assert line.get("key_digest") == known


def test_the_outbox_remembers_the_names_of_the_customers_request(
    as_alice: APIClient,
    alice: User,
    alice_account: Account,
    place: Callable[..., Order],
    remote: None,
) -> None:
    order = place(customer=alice)
    names = {"X-Request-Id": "trace-1", "X-Key-Digest": "0" * 12, "Prefer": "wait=0"}

    assert pay(as_alice, order, alice_account, key="one", **names).status_code == 202

    row = PaymentRequest.objects.get(pk=order.pk)
    assert (row.request_id, row.key_digest) == ("trace-1", "7692c3ad3540")


def test_nothing_is_logged_that_could_be_replayed(
    as_alice: APIClient, alice: User, alice_account: Account, place: Callable[..., Order]
) -> None:
    order, written = place(customer=alice), io.StringIO()
    (handler,) = [h for h in logging.getLogger().handlers if h.get_name() == "stderr"]
    assert isinstance(handler, logging.StreamHandler)
    earlier = handler.setStream(written)
    try:
        for path in (f"orders/{order.pk}/pay/?key=key-in-query", "sign-in/", "payments/", "no/"):
            body = {
                "account": 10**15 + alice_account.pk,
                "password": "secret-word",
                "username": "u",
            }
            as_alice.post(f"/api/v1/{path}", body, headers={"Idempotency-Key": "secret-key"})
    finally:
        handler.setStream(earlier)

    text = written.getvalue()
    assert text.count("responded") == 4
    token = api_token_of(alice)
    for secret in ("secret-key", "secret-word", "key-in-query", token, str(10**15)[:-3]):
        assert secret not in text


# --- Several processes


@pytest.fixture(scope="module")
def workers(django_db_setup: None, django_db_blocker: Any, tmp_path_factory: Any) -> Any:
    with django_db_blocker.unblock():
        params = connection.get_connection_params()
    with LiveServer(database=params, folder=tmp_path_factory.mktemp("metrics")) as server:
        yield server


@pytest.fixture
def shop(workers: LiveServer, transactional_db: None) -> Iterator[LiveServer]:
    yield workers
    workers.disarm()


@pytest.fixture
def click(shop: LiveServer, alice: User) -> Caller:
    return Caller(shop.url, api_token_of(alice))


def scraped(server: LiveServer) -> Scraped:
    response = urllib3.request("GET", f"{server.url}/metrics", retries=False)
    assert response.status == 200
    return Scraped.of(response.data.decode())


def pids(server: LiveServer) -> set[int]:
    pid = server.process.pid
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def kill_workers(server: LiveServer) -> None:
    """Kill every worker, and wait until there are others."""
    killed = pids(server)
    for worker in killed:
        os.kill(worker, signal.SIGKILL)
    until(lambda: len(pids(server) - killed) == len(killed), what="every worker was replaced")


def test_counts_of_all_workers_add_up_and_outlive_a_killed_worker(
    shop: LiveServer,
    click: Caller,
    alice: User,
    alice_account: Account,
    place: Callable[..., Order],
) -> None:
    orders = [place(customer=alice) for _ in range(6)]
    before = scraped(shop)

    def pay_often(number: int) -> None:
        order = orders[number]
        for _ in range(5):
            path, body = f"/api/v1/orders/{order.pk}/pay/", {"account": alice_account.pk}
            assert click.post(path, body, key=order.pk.hex).status == 200

    together(len(orders), pay_often)

    def check() -> None:
        grown = scraped(shop) - before
        assert grown.value("pays_total", status="200") == 30
        assert grown.value("replays_total", route=PAY_ROUTE) == 24
        timed = {"method": "POST", "route": PAY_ROUTE, "status": "200"}
        assert grown.value("request_duration_seconds_count", **timed) == 30

    for _ in range(10):  # whichever worker is scraped
        check()
    kill_workers(shop)
    for _ in range(10):
        check()
    click.post(f"/api/v1/orders/{orders[0].pk}/pay/", {"account": alice_account.pk}, key="new")
    assert (scraped(shop) - before).value("pays_total", status="409") == 1
    check()


def test_a_request_in_flight_is_shown_and_forgotten_when_its_worker_is_killed(
    shop: LiveServer,
    click: Caller,
    alice: User,
    alice_account: Account,
    place: Callable[..., Order],
) -> None:
    order = place(customer=alice)
    path, body = f"/api/v1/orders/{order.pk}/pay/", {"account": alice_account.pk}
    before = scraped(shop)
    shop.arm("payment-decided", "hold")

    def first_click() -> None:
        with pytest.raises(urllib3.exceptions.HTTPError):
            click.post(path, body, key="one")

    first = threading.Thread(target=first_click)
    first.start()
    until(lambda: shop.hits("payment-decided"), what="the first click is held")
    busy = click.post(path, body, key="one", Prefer="wait=0")
    assert busy.status == 409
    meanwhile = scraped(shop)
    assert meanwhile.value("requests_in_flight") == 1
    conflicts = (meanwhile - before).value("key_conflicts_total", problem="idempotency-key-in-use")
    assert conflicts == 1

    kill_workers(shop)
    for holding in shop.folder.glob("*.holding"):
        holding.unlink()  # the killed worker can't remove it
    first.join()

    after = scraped(shop)
    assert after.value("requests_in_flight") == 0
    assert (after - before).value("pays_total", status="200") == 0


def counters_of(server: LiveServer) -> Path:
    """Return the folder that a server's workers count in: they have its files mapped."""
    (worker, *_) = pids(server)
    (folder,) = set(re.findall(r"(/\S+)/counter_\d+\.db", Path(f"/proc/{worker}/maps").read_text()))
    return Path(folder)


def test_the_counters_outlive_a_reload_and_end_with_the_server(
    transactional_db: None, tmp_path: Path
) -> None:
    database = connection.get_connection_params()
    with LiveServer(database=database, folder=tmp_path, workers=1, threads=2) as server:
        caller, folder = Caller(server.url, "nobody's"), counters_of(server)
        assert caller.get("/api/v1/orders/").status == 401
        before, old = scraped(server), pids(server)
        server.process.send_signal(signal.SIGHUP)
        until(lambda: not old & pids(server) and pids(server), what="the worker was replaced")
        assert caller.get("/api/v1/orders/").status == 401

        grown = scraped(server) - before
        timed = {"method": "GET", "route": "/api/v1/orders/", "status": "401"}
        assert before.value("request_duration_seconds_count", **timed) == 1
        assert grown.value("request_duration_seconds_count", **timed) == 1
        assert counters_of(server) == folder
    assert not folder.exists()


# --- One request through both systems


@contextmanager
def relay_of(server: LiveServer) -> Iterator[None]:
    command = [sys.executable, "-m", "tests.support.relay"]
    with (server.folder / "relay.log").open("wb") as log:
        relay = subprocess.Popen(command, cwd=ROOT, env=server.environment, stdout=log, stderr=log)
    try:
        yield
    finally:
        relay.terminate()
        relay.wait(30)


def logged(log: Path) -> list[Any]:
    """Return a log's lines; what wrote them may still write the last one."""
    written = log.read_text().splitlines(keepends=True)
    return [json.loads(line) for line in written if line.startswith("{") and line.endswith("\n")]


def test_a_request_keeps_its_name_through_the_relay_to_the_payment_system(
    transactional_db: None,
    tmp_path: Path,
    alice: User,
    alice_account: Account,
    service: APIClient,
    place: Callable[..., Order],
) -> None:
    order = place(customer=alice)
    token = api_token_of(User.objects.get(username="order-service"))
    server = LiveServer(database=connection.get_connection_params(), folder=tmp_path, workers=2)
    server.environment |= {
        "DEBUG": "false",  # logs as in production
        "SECRET_KEY": uuid4().hex,
        "ALLOWED_HOSTS": "127.0.0.1",
        "HTTPS": "false",
        "PAYMENTS_URL": server.url,
        "PAYMENTS_TOKEN": token,
        "DJANGO_SETTINGS_MODULE": "config.settings",
    }
    with server, relay_of(server):
        caller = Caller(server.url, api_token_of(alice))
        path, body = f"/api/v1/orders/{order.pk}/pay/", {"account": alice_account.pk}
        named = {"X-Request-Id": "trace-1", "Prefer": "wait=30"}
        assert caller.post(path, body, key="one", **named).status == 200
    served = [line for line in logged(server.log) if line.get("request_id") == "trace-1"]
    relayed = [line for line in logged(tmp_path / "relay.log") if "request_id" in line]

    assert {line["path"] for line in served} == {path, "/api/v1/payments/"}
    assert [line["event"] for line in relayed] == ["settled"]
    assert {line["order_id"] for line in served + relayed} == {str(order.pk)}
    assert {line["request_id"] for line in relayed} == {"trace-1"}
    assert len({line["key_digest"] for line in served + relayed}) == 1
