"""Two releases at once: whichever server a key was claimed on, every other one replays it."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.db import connection, transaction
from django.test import Client

from idempotency import fingerprint
from idempotency.fingerprint import Content
from idempotency.models import Record
from idempotency.tests.conftest import charges
from idempotency.tests.processes import server
from idempotency.tests.support import age
from idempotency.tests.test_lifetime import purge
from idempotency.tests.test_views import post

pytestmark = pytest.mark.django_db(transaction=True)

OLD, NEW, NEXT = "1", "1,2", "2"  # the versions that servers of three releases know


def known() -> list[str]:
    """Return the versions that are recorded of every key, in order."""
    rows = Record.objects.order_by("id").values_list("fingerprint_version", "newer_fingerprints")
    return [",".join([str(version), *(newer or {})]) for version, newer in rows]


def test_a_rolling_upgrade_and_a_roll_back_replay_what_either_server_did(
    client: Client, tmp_path: Path
) -> None:
    with server(tmp_path, versions=OLD) as old:
        with server(tmp_path, versions=NEW) as new:
            firsts = [old.post("/rest/", client, "by-old"), new.post("/rest/", client, "by-new")]
            for each in (old, new):
                for key, first in zip(("by-old", "by-new"), firsts, strict=True):
                    retry = each.post("/rest/", client, key)
                    assert (retry.status, retry.body) == (201, first.body)
                    assert retry.headers["Idempotent-Replayed"] == "true"
                    assert each.post("/rest/", client, key, amount=2).status == 422
        assert known() == [OLD, NEW]
        # Rolled back: only the old release is left.
        assert old.post("/rest/", client, "by-new").headers["Idempotent-Replayed"] == "true"
        assert old.post("/rest/", client, "by-new", amount=2).status == 422
    assert charges() == 2


def test_one_key_at_both_servers_at_once_charges_once(client: Client, tmp_path: Path) -> None:
    waits = {"WAITING_THREADS_MAX": 20, "WAIT_SECONDS": 30}
    with (
        server(tmp_path, versions=OLD, **waits) as old,
        server(tmp_path, versions=NEW, **waits) as new,
        ThreadPoolExecutor(10) as threads,
    ):
        clicks = [threads.submit(each.post, "/slow/", client) for each in [old, new] * 5]
        responses = [click.result() for click in clicks]

    assert {(response.status, response.body) for response in responses} == {(200, b"1")}
    assert sum("Idempotent-Replayed" in response.headers for response in responses) == 9
    assert charges() == 1


def test_a_release_that_has_dropped_a_version_replays_what_was_recorded_in_both(
    client: Client, tmp_path: Path
) -> None:
    with server(tmp_path, versions=NEW) as new:
        first = new.post("/rest/", client, "k")
    with server(tmp_path, versions=NEXT) as following:
        assert following.post("/rest/", client, "k").body == first.body
        assert following.post("/rest/", client, "k", amount=2).status == 422
    assert charges() == 1


def test_a_version_that_nobody_knows_is_refused_and_never_run(
    client: Client, tmp_path: Path
) -> None:
    post(client, "/plain/")  # by this process, which knows the first alone
    with server(tmp_path, versions=NEXT) as following:
        assert following.post("/plain/", client).status == 500
        assert following.post("/plain/", client, amount=2).status == 500
    assert charges() == 1


@pytest.mark.parametrize("is_purged", [False, True])
def test_a_key_past_its_retention_is_410_whatever_its_version(
    is_purged: bool, client: Client, tmp_path: Path
) -> None:
    post(client, "/plain/")
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("UPDATE idempotency_record SET fingerprint_version = 99")
    age(31)
    if is_purged:
        purge()
    with server(tmp_path, versions=NEW) as new, server(tmp_path, versions=NEXT) as following:
        assert [each.post("/plain/", client).status for each in (new, following)] == [410, 410]
    assert charges() == 1


def test_a_fingerprint_function_may_be_renamed_and_a_changed_one_is_refused(
    client: Client,
) -> None:
    def send(amount: int) -> int:
        sent = client.post("/by_amount/", {"amount": amount}, headers={"Idempotency-Key": "k"})
        return sent.status_code

    assert send(1) == 200
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("UPDATE idempotency_record SET fingerprint_by = 'shop.keys.of_old_name'")

    assert send(1) == 200, "an equal fingerprint: the first response"
    assert send(2) == 500, "whether it is another request, or the function another, is unknown"
    assert charges() == 1


def test_the_newest_version_that_both_know_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    content = Content("POST", "/", body={"amount": 1})
    (first,) = fingerprint.compute(content).values()
    monkeypatch.setitem(fingerprint._VERSIONS, 2, lambda _: "second")

    assert fingerprint.compute(content) == {1: first, 2: "second"}
    assert fingerprint.matches(content, {1: "another", 2: "second", 3: "unknown"}) is True
    assert fingerprint.matches(content, {1: first, 2: "another"}) is False
    assert fingerprint.matches(content, {1: first, 3: "unknown"}) is True
    assert fingerprint.matches(content, {3: "unknown"}) is None
