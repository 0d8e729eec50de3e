"""SIGKILL at every failpoint, through the public interface: a retry leads to one charge."""

import http.client
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from idempotency import run_once
from idempotency.models import Record
from idempotency.tests.conftest import charges
from idempotency.tests.processes import broker, killed, server, worker

pytestmark = pytest.mark.django_db(transaction=True)

BEFORE_THE_COMMIT = ("key-claimed", "executed", "response-stored")
FAILPOINTS = (*BEFORE_THE_COMMIT, "committed")


@pytest.mark.parametrize("point", FAILPOINTS)
@pytest.mark.parametrize("path", ["/rest/", "/plain/"])
def test_a_view_that_is_killed_charges_once(
    path: str, point: str, client: Client, tmp_path: Path
) -> None:
    (tmp_path / f"{point}.kill").touch()
    with server(tmp_path) as live:
        with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
            live.post(path, client)
        assert killed(live.process)
    assert (tmp_path / f"{point}.hit").exists()
    assert charges() == Record.objects.count() == (0 if point in BEFORE_THE_COMMIT else 1)

    with server(tmp_path) as live:
        retry, second_retry = live.post(path, client), live.post(path, client)

    assert 200 <= retry.status < 300
    assert retry.headers.get("Idempotent-Replayed") == (
        None if point in BEFORE_THE_COMMIT else "true"
    )
    assert (second_retry.status, second_retry.body) == (retry.status, retry.body)
    assert second_retry.headers["Idempotent-Replayed"] == "true"
    assert charges() == 1


@pytest.mark.parametrize("point", FAILPOINTS)
def test_a_task_whose_worker_is_killed_is_delivered_again_and_charges_once(
    point: str, tmp_path: Path
) -> None:
    celery = pytest.importorskip("celery", reason="Celery is not installed")
    pytest.importorskip("redis", reason="the Redis client is not installed")
    if not shutil.which("redis-server") and os.environ.get("REDIS") != "required":
        pytest.skip("there is no redis-server: the broker of this test")
    (tmp_path / f"{point}.kill").touch()
    with broker(tmp_path) as redis:
        sent = celery.Celery(broker=redis, backend=redis).send_task("pay", ("message-1", 5))
        with worker(tmp_path, redis) as first:
            assert killed(first)
        assert (tmp_path / f"{point}.hit").exists()
        assert charges() == (0 if point in BEFORE_THE_COMMIT else 1)

        with worker(tmp_path, redis) as second:
            result = sent.get(timeout=60)
            assert second.poll() is None

    assert result == {"charges": 1, "amount": 5}
    assert pay_in_this_process() == result
    assert charges() == 1


def pay_in_this_process() -> Any:
    def never() -> None:
        raise AssertionError("a second execution")

    return run_once(scope="tasks", key="message-1", args={"amount": 5}, call=never)


def test_twenty_at_once_with_one_key_charge_once_and_get_one_response(
    client: Client, tmp_path: Path
) -> None:
    with server(tmp_path, WAITING_THREADS_MAX=20, WAIT_SECONDS=30) as live:
        with ThreadPoolExecutor(20) as threads:
            clicks = [threads.submit(live.post, "/slow/", client) for _ in range(20)]
        responses = [click.result() for click in clicks]

    assert {(response.status, response.body) for response in responses} == {(200, b"1")}
    replays = [response for response in responses if "Idempotent-Replayed" in response.headers]
    assert len(replays) == 19
    assert charges() == 1


def test_duplicates_that_may_not_wait_get_409_and_their_retry_gets_the_response(
    client: Client, tmp_path: Path
) -> None:
    with server(tmp_path, WAITING_THREADS_MAX=1) as live:
        with ThreadPoolExecutor(20) as threads:
            clicks = [threads.submit(live.post, "/slow/", client) for _ in range(20)]
        responses = [click.result() for click in clicks]
        busy = [response for response in responses if response.status == 409]
        retry = live.post("/slow/", client)

    assert busy
    assert {response.headers["Retry-After"] for response in busy} == {"1"}
    assert {r.body for r in responses if r.status != 409} == {retry.body} == {b"1"}
    assert charges() == 1
