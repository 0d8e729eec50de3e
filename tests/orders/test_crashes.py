"""The process is killed at every point from the first statement to the response; then a retry."""

import select
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import urllib3
from django.contrib.auth.models import User
from django.db import connection

from idempotency.models import Record
from idempotency.models import Token as SingleUseToken
from operations.audit import check_invariants as audit
from orders.models import Order, Product, StatusChange
from payments.models import Account, Payment
from simulator.chaos import ChaosProxy
from tests.conftest import OPENING
from tests.support.api_tokens import api_token_of
from tests.support.live import Caller, LiveServer, until
from tests.support.together import together

pytestmark = pytest.mark.django_db(transaction=True)

PAY_POINTS = [
    "key-claimed",
    "order-claimed",
    "payment-decided",
    "order-settled",
    "executed",
    "response-stored",
    "committed",
]


@pytest.fixture(autouse=True)
def _invariants_hold_afterwards() -> Iterator[None]:
    yield
    assert [found for found in audit() if found.breaches] == []


@pytest.fixture
def click(server: LiveServer, alice: User) -> Caller:
    return Caller(server.url, api_token_of(alice))


@pytest.fixture
def order(alice: User, place: Callable[..., Order]) -> Order:
    return place(customer=alice)


def retried(call: Callable[[], Any]) -> Any:
    """Retry, with the same key, until there is a response; count the broken attempts."""
    for _ in range(50):
        try:
            response = call()
        except urllib3.exceptions.HTTPError:
            time.sleep(0.1)
            continue
        if response.status not in {409, 503} or "Retry-After" not in response.headers:
            return response
        time.sleep(int(response.headers["Retry-After"]))
    raise AssertionError("no response")


def charged(account: Account) -> int:
    balance = Account.objects.get(pk=account.pk).balance
    assert balance is not None
    return OPENING - balance


@pytest.mark.parametrize("point", PAY_POINTS)
def test_a_worker_killed_while_paying_leaves_all_or_nothing(
    point: str, server: LiveServer, click: Caller, order: Order, alice_account: Account
) -> None:
    path, body, key = f"/api/v1/orders/{order.pk}/pay/", {"account": alice_account.pk}, uuid4().hex
    server.arm(point, "kill")

    with pytest.raises(urllib3.exceptions.HTTPError):
        click.post(path, body, key=key)
    assert server.hits(point) == 1, "the worker was really killed there"
    committed = point == "committed"
    assert Record.objects.exists() is Payment.objects.exists() is committed
    assert charged(alice_account) == (order.amount if committed else 0)

    response = retried(lambda: click.post(path, body, key=key))
    retry = retried(lambda: click.post(path, body, key=key))

    assert (response.status, retry.status) == (200, 200)
    assert response.data == retry.data
    assert (response.headers.get("Idempotent-Replayed") == "true") is committed
    history = StatusChange.objects.filter(order=order).values_list("source", "target")
    assert list(history.order_by("id")) == [(0, 1), (1, 2)]
    assert charged(alice_account) == order.amount


@pytest.mark.parametrize(
    "point", ["key-claimed", "order-placed", "executed", "response-stored", "committed"]
)
def test_a_worker_killed_while_placing_leaves_one_order_after_the_retry(
    point: str, server: LiveServer, click: Caller, product: Product
) -> None:
    issued = click.post("/api/v1/tokens/").json()["token"]
    body = {"lines": [{"sku": product.sku, "quantity": 2}]}
    server.arm(point, "kill")

    with pytest.raises(urllib3.exceptions.HTTPError):
        click.post("/api/v1/orders/", body, key=issued)
    assert server.hits(point) == 1
    committed = int(point == "committed")
    assert Order.objects.count() == committed
    assert SingleUseToken.objects.count() == 1 - committed, "a failed request gives it back"

    response = retried(lambda: click.post("/api/v1/orders/", body, key=issued))

    assert response.status == 201
    assert Order.objects.count() == 1
    assert str(Order.objects.get().pk) == response.json()["id"]
    assert not SingleUseToken.objects.exists()


def test_workers_killed_again_and_again_under_a_storm_charge_once(
    server: LiveServer,
    click: Caller,
    alice: User,
    alice_account: Account,
    place: Callable[..., Order],
) -> None:
    orders = [place(customer=alice) for _ in range(12)]
    for point in ("payment-decided", "response-stored", "committed"):
        server.arm(point, "kill", times=3)

    def pay(number: int) -> Any:
        order = orders[number % 12]
        path = f"/api/v1/orders/{order.pk}/pay/"
        return retried(lambda: click.post(path, {"account": alice_account.pk}, key=f"k-{order.pk}"))

    responses = together(24, pay)

    assert (
        sum(server.hits(point) for point in ("payment-decided", "response-stored", "committed"))
        >= 3
    )
    assert {response.status for response in responses} == {200}
    assert all(responses[n].data == responses[n + 12].data for n in range(12))
    assert Payment.objects.count() == 12
    assert charged(alice_account) == sum(order.amount for order in orders)


def test_sessions_ended_by_the_database_are_a_response_or_a_503_and_one_charge(
    server: LiveServer, click: Caller, order: Order, alice_account: Account
) -> None:
    path, body, key = f"/api/v1/orders/{order.pk}/pay/", {"account": alice_account.pk}, uuid4().hex
    server.arm("payment-decided", "hold")

    def act(number: int) -> Any:
        if number == 0:
            return click.post(path, body, key=key)
        until(lambda: server.hits("payment-decided"), what="the payment is held")
        ended = end_other_sessions()
        server.release("payment-decided")
        return ended

    response, ended = together(2, act)

    assert ended >= 1, "the session of the held payment was ended"
    assert response.status == 200, "the boundary ran it again on a new connection"
    assert charged(alice_account) == order.amount


def end_other_sessions() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            "   AND state = 'idle in transaction'"
        )
        ended: int = cursor.fetchone()[0]
        return ended


def test_a_lost_response_over_http_is_replayed(
    server: LiveServer, alice: User, order: Order, alice_account: Account
) -> None:
    path, body, key = f"/api/v1/orders/{order.pk}/pay/", {"account": alice_account.pk}, uuid4().hex
    with ChaosProxy(("127.0.0.1", server.port)) as proxy:
        token = api_token_of(alice)
        click = Caller(proxy.url, token)
        proxy.arm("cut-response", key.encode())
        with pytest.raises(urllib3.exceptions.HTTPError):
            click.post(path, body, key=key)
        assert proxy.happened == {"cut-response": 1}
        assert charged(alice_account) == order.amount, "done, and the caller never learnt it"

        response = click.post(path, body, key=key)

    assert response.status == 200
    assert response.headers["Idempotent-Replayed"] == "true"
    assert charged(alice_account) == order.amount


class LostCommits(socketserver.ThreadingTCPServer):
    """Forwards connections to PostgreSQL; ends `left` of them instead of the response to COMMIT."""

    daemon_threads = True
    database = ("", 0)
    left = 0


class LosingConnection(socketserver.BaseRequestHandler):
    server: LostCommits

    def handle(self) -> None:
        with socket.create_connection(self.server.database) as database:
            peers = {self.request: database, database: self.request}
            committing = False
            while True:
                source = select.select(list(peers), [], [])[0][0]
                if not (chunk := source.recv(65536)):
                    return
                if source is database and committing and self.server.left:
                    self.server.left -= 1
                    return
                committing = source is self.request and b"COMMIT\0" in chunk
                peers[source].sendall(chunk)


@pytest.fixture
def lost_commits() -> Iterator[LostCommits]:
    with LostCommits(("127.0.0.1", 0), LosingConnection) as proxy:
        parameters = connection.get_connection_params()
        proxy.database = (parameters["host"], int(parameters["port"]))
        thread = threading.Thread(target=proxy.serve_forever, args=(0.01,))
        thread.start()
        yield proxy
        proxy.shutdown()
        thread.join()


@pytest.mark.parametrize("lost", [1, 2])
def test_a_lost_response_to_commit_is_found_out_and_replayed(
    lost: int,
    lost_commits: LostCommits,
    alice: User,
    order: Order,
    alice_account: Account,
    tmp_path: Path,
) -> None:
    host, port = lost_commits.server_address[:2]
    database = connection.get_connection_params() | {"host": host, "port": port}
    path, body, key = f"/api/v1/orders/{order.pk}/pay/", {"account": alice_account.pk}, uuid4().hex
    token = api_token_of(alice)
    with LiveServer(database=database, folder=tmp_path, workers=1) as server:
        lost_commits.left = lost
        response = Caller(server.url, token).post(path, body, key=key)
    assert lost_commits.left == 0, "the responses to COMMIT were really lost"

    assert response.status == 200
    assert response.headers["Idempotent-Replayed"] == "true", "the second run found the record"
    assert Payment.objects.count() == 1
    assert charged(alice_account) == order.amount


def test_no_variable_can_arm_a_failpoint_in_the_real_application(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = "import config.wsgi; from idempotency import failpoints; print(failpoints._hook)"
    environment = {"FAULT_FOLDER": str(tmp_path), "DEBUG": "true", "DATABASE_URL": "postgres://x"}
    ran = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "None"
