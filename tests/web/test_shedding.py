"""Duplicates that the main loop refuses: before a thread, and before the database."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest
import urllib3
from django.contrib.auth.models import User
from django.db import connection

from orders.models import Order
from payments.models import Account, Payment
from tests.conftest import OPENING
from tests.support.api_tokens import api_token_of
from tests.support.live import Caller, LiveServer, until
from web.server.connection import FINAL
from web.server.duplicates import FINAL_KEYS_MAX, Duplicates, duplicates_max
from web.server.senders import NOBODY, sender
from web.server.shedding import key_in_use, wants_close

HEAD = b"POST /api/v1/orders/1/pay/?secret=1 HTTP/1.1\r\nHost: x\r\n%s\r\n"
WAITING = """
SELECT count(*) FROM pg_locks JOIN pg_database ON oid = database
 WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()
"""


def head(*lines: bytes) -> bytes:
    return HEAD % b"".join(line + b"\r\n" for line in lines)


# --- Who is the same caller, and what is the same key


@pytest.mark.parametrize(
    "same",
    [
        (b"Authorization: Token abc", b'Idempotency-Key: "k1"'),
        (b"idempotency-key:   k1  ", b"authorization: Token abc"),
        (b"Authorization: Token abc", b'Idempotency-Key: "k\\1"'.replace(b"\\1", b"1")),
    ],
)
def test_a_key_is_the_same_quoted_or_bare(same: tuple[bytes, ...]) -> None:
    assert sender(head(*same)) == sender(head(b"Authorization: Token abc", b"Idempotency-Key: k1"))


@pytest.mark.parametrize(
    "other",
    [
        (b"Authorization: Token abd", b"Idempotency-Key: k1"),
        (b"Authorization: Token abc", b"Idempotency-Key: k2"),
        (b"Authorization: Token abc", b"Cookie: sessionid=1", b"Idempotency-Key: k1"),
        (b"Cookie: sessionid=Token abc", b"Idempotency-Key: k1"),
    ],
)
def test_another_caller_s_key_is_another(other: tuple[bytes, ...]) -> None:
    first = sender(head(b"Authorization: Token abc", b"Idempotency-Key: k1"))
    assert sender(head(*other)).key != first.key


def test_only_a_write_of_somebody_with_a_key_can_be_a_duplicate() -> None:
    assert sender(head(b"Idempotency-Key: k1")) == NOBODY
    assert sender(head(b"Authorization: Token abc")).key is None
    assert sender(head(b"Authorization: Token abc").replace(b"POST", b"GET")).key is None
    read = head(b"Authorization: Token abc", b"Idempotency-Key: k").replace(b"POST", b"GET")
    assert sender(read).key is None
    browser = sender(head(b"Cookie: lang=en; sessionid=1"))
    assert browser.caller == sender(head(b"Cookie: sessionid=1; lang=zh")).caller != b""


def test_no_credential_and_no_key_is_kept() -> None:
    found = sender(head(b"Authorization: Token abc", b"Idempotency-Key: k1"))
    assert b"abc" not in found.caller
    assert found.key is not None
    assert b"k1" not in found.key


# --- How many may come in


def test_duplicates_come_in_again_when_others_are_done() -> None:
    duplicates = Duplicates(at_once_max=2)
    assert [duplicates.admit(b"k") for _ in range(3)] == [True, True, False]
    assert duplicates.admit(b"other")
    assert all(duplicates.admit(None) for _ in range(5))
    duplicates.finish(b"k", is_final=False)
    assert [duplicates.admit(b"k") for _ in range(2)] == [True, False]


def test_all_replays_come_in() -> None:
    duplicates = Duplicates(at_once_max=1)
    assert duplicates.admit(b"k")
    duplicates.finish(b"k", is_final=True)
    assert all(duplicates.admit(b"k") for _ in range(100))


def test_what_is_remembered_of_keys_is_bounded() -> None:
    duplicates = Duplicates(at_once_max=1)
    for number in range(FINAL_KEYS_MAX + 10):
        key = number.to_bytes(8, "big")
        assert duplicates.admit(key)
        duplicates.finish(key, is_final=True)
    assert len(duplicates.final) == FINAL_KEYS_MAX
    assert not duplicates.unfinished


def test_the_limit_is_the_first_and_as_many_as_may_wait(settings: pytest.FixtureRequest) -> None:
    settings.IDEMPOTENCY = {"WAITING_THREADS_MAX": 4}  # type: ignore[attr-defined]
    assert duplicates_max(16) == 5
    assert duplicates_max(8) == 4  # the share of one caller


@pytest.mark.parametrize(
    ("response", "is_final"),
    [
        (b"HTTP/1.1 200 OK\r\n", True),
        (b"HTTP/1.1 201 Created\r\nServer: x\r\n", True),
        (b"HTTP/1.1 402 Payment Required\r\nServer: x\r\nIdempotent-Replayed: true\r\n\r\n", True),
        (b"HTTP/1.1 402 Payment Required\r\nServer: x\r\n\r\n", False),  # it may not be stored
        (b"HTTP/1.1 409 Conflict\r\nServer: x\r\n\r\nIdempotent-Replayed: true\r\n", False),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", False),
    ],
)
def test_what_a_final_response_looks_like(response: bytes, is_final: bool) -> None:
    assert (FINAL.match(response) is not None) == is_final


# --- The refusal


@pytest.mark.parametrize(
    ("language", "code"), [(b"", "en"), (b"zh-CN,zh;q=0.9", "zh-hans"), (b"xx, en;q=0.1", "en")]
)
def test_the_refusal_speaks_the_client_s_language(language: bytes, code: str) -> None:
    response = key_in_use(head(b"Accept-Language: " + language), closes=False)
    assert f"\r\nContent-Language: {code}\r\n".encode() in response


@pytest.mark.parametrize(
    "line",
    [
        b"Accept-Language: " + b"a" * 20_000,
        b"Accept-Language: " + b"a" * 499 + b"," + b"z" * 20_000,
        b"Accept-Language: \xff\x00;q=x, *",
        b'Idempotency-Key: \xff\x00"',
        b"Idempotency-Key:",
        b'Idempotency-Key: "',
        b"X-Request-Id: a\nSet-Cookie: b",
        b"Cookie: sessionid=\xff; ; =;",
    ],
)
def test_no_head_ends_the_main_loop(line: bytes) -> None:
    for request in (head(line), head(line).replace(b" HTTP/1.1", b""), b"POST \r\n\r\n"):
        sender(request)
        response = key_in_use(request, closes=wants_close(request))
        assert response.startswith(b"HTTP/1.1 409 Conflict\r\n")
        assert b"Set-Cookie" not in response


def test_a_client_that_closes_is_closed() -> None:
    assert wants_close(head(b"Connection: close"))
    assert wants_close(HEAD.replace(b"HTTP/1.1", b"HTTP/1.0") % b"")
    assert not wants_close(head(b"Connection: keep-alive"))


@pytest.mark.django_db(transaction=True)
def test_duplicates_that_fill_the_threads_are_shed_and_all_get_the_first_response(
    tmp_path: Path, alice: User, bob: User, alice_account: Account, place: Callable[..., Order]
) -> None:
    order = place(customer=alice, quantity=1)
    path, key, body = f"/api/v1/orders/{order.pk}/pay/", uuid4().hex, {"account": alice_account.pk}
    database = connection.get_connection_params()
    with (
        LiveServer(database=database, folder=tmp_path, workers=1, threads=6) as server,
        ThreadPoolExecutor(40) as clients,
    ):
        caller, other = (Caller(server.url, api_token_of(user)) for user in (alice, bob))
        server.arm("order-claimed", "hold")
        clicks = [clients.submit(caller.post, path, body, key=key, Prefer="wait=30")]
        until(lambda: server.hits("order-claimed"), what="the first is held")
        clicks += [
            clients.submit(caller.post, path, body, key=key, Prefer="wait=30") for _ in range(30)
        ]
        until(lambda: sum(click.done() for click in clicks) == 28, what="28 are shed")

        assert other.get("/api/v1/orders/").status == 200  # a bystander has a thread
        # As many as may come in are there already. One more is shed: its token is not looked up.
        shed = caller.post(path, body, key=f'"{key}"', **{"X-Request-Id": "shed-one"})
        server.release("order-claimed")
        responses = [click.result() for click in clicks]
        retried = [caller.post(path, body, key=key) for _ in range(28)]
        counted = caller.get("/metrics").data.decode()

    refused = [response for response in responses if response.status == 409]
    paid = [response for response in responses if response.status == 200]
    assert (len(refused), len(paid)) == (28, 3)
    for response in (*refused, shed):
        assert response.headers["Retry-After"] == "1"
        assert response.headers["Cache-Control"] == "private, no-store"
        assert response.headers["Content-Type"] == "application/problem+json"
        assert json.loads(response.data)["type"].endswith("/idempotency-key-in-use")
    assert 'problem="idempotency-key-in-use"} 29.0' in counted
    assert {response.data for response in retried} == {paid[0].data}
    assert Payment.objects.filter(order_id=order.pk).count() == 1
    assert Account.objects.get(pk=alice_account.pk).balance == OPENING - order.amount
    line = next(line for line in server.log.read_text().splitlines() if "shed-one" in line)
    assert "409" in line
    assert "secret" not in line
    log = server.log.read_text()
    assert log.count("shed") - log.count("shed-one") == 29  # none of them reached a view
    assert key not in log


@pytest.mark.django_db(transaction=True)
def test_a_shed_client_keeps_its_connection_and_gets_what_the_application_would_send(
    tmp_path: Path, alice: User, alice_account: Account, place: Callable[..., Order]
) -> None:
    order = place(customer=alice, quantity=1)
    url, key, body = f"/api/v1/orders/{order.pk}/pay/", uuid4().hex, {"account": alice_account.pk}
    token = api_token_of(alice)
    headers = {"Authorization": f"Token {token}", "Idempotency-Key": key, "Prefer": "wait=0"}
    database = connection.get_connection_params()
    with (
        LiveServer(database=database, folder=tmp_path, workers=1, threads=6) as server,
        ThreadPoolExecutor(3) as clients,
        urllib3.HTTPConnectionPool("127.0.0.1", server.port, maxsize=1, retries=False) as pool,
    ):
        caller = Caller(server.url, token)
        server.arm("order-claimed", "hold")
        first = clients.submit(caller.post, url, body, key=key)
        until(lambda: server.hits("order-claimed"), what="the first is held")
        by_application = pool.request("POST", url, json=body, headers=headers)
        waits = {"key": key, "Prefer": "wait=30"}
        waiting = [clients.submit(caller.post, url, body, **waits) for _ in range(2)]

        until(lambda: _waiting_in_the_database() == 2, what="as many wait as may")
        seen = [pool.request("POST", url, json=body, headers=headers)]
        server.release("order-claimed")
        responses = [first.result(), *(each.result() for each in waiting)]
        seen.append(pool.request("POST", url, json=body, headers=headers))
        connections = pool.num_connections

    assert [response.status for response in responses] == [200, 200, 200]
    by_main_loop, replay = seen
    assert "Content-Security-Policy" not in by_main_loop.headers  # no middleware saw it
    assert (by_application.status, by_main_loop.status) == (409, 409)
    assert by_main_loop.data == by_application.data
    for name in ("Content-Type", "Retry-After", "Link", "Cache-Control", "Content-Language"):
        assert by_main_loop.headers[name] == by_application.headers[name], name
    varies = [set(each.headers["Vary"].split(", ")) for each in (by_main_loop, by_application)]
    assert varies[0] >= varies[1]
    assert by_main_loop.headers["Connection"] == "keep-alive"
    assert replay.data == responses[0].data
    assert connections == 1


def _waiting_in_the_database() -> int:
    with connection.cursor() as cursor:
        cursor.execute(WAITING)
        return int(cursor.fetchone()[0])
