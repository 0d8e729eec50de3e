"""Retention, erasure, tombstones, tokens: what goes in time, and what stays refused."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction
from django.http import HttpResponse
from django.test import Client

from idempotency import replace_provisional, signals
from idempotency.models import Record, Token
from idempotency.purge import delete_tombstones
from idempotency.stored import columns_of
from idempotency.tests.conftest import charges
from idempotency.tests.project.models import User
from idempotency.tests.support import age, uuid7
from idempotency.tests.test_views import post

pytestmark = pytest.mark.django_db(transaction=True)


def purge() -> None:
    call_command("purge_idempotency_records", verbosity=0)


def test_a_response_past_its_retention_is_410_before_and_after_the_purge(client: Client) -> None:
    post(client, "/plain/")
    age(31)
    assert post(client, "/plain/").status_code == 410
    purge()
    assert post(client, "/plain/").status_code == 410
    assert charges() == 1


def test_a_tombstone_holds_nothing_of_the_request(client: Client, alice: User) -> None:
    post(client, "/plain/")
    age(31)
    purge()

    record = Record.objects.get()

    assert (record.scope, record.key, record.method, record.path) == ("", "", "", "")
    assert (record.subject, record.request_id, record.headers, record.body) == ("", "", {}, None)
    assert len(bytes(record.identity)) == 32


def test_an_erased_scope_leaves_nothing_and_its_keys_stay_refused(
    client: Client, alice: User
) -> None:
    post(client, "/plain/")
    client.post("/api/tokens/")

    call_command("erase_idempotency_records", scope=f"user:{alice.pk}", verbosity=0)

    assert Record.objects.get().scope == ""
    assert not Token.objects.exists()
    assert post(client, "/plain/").status_code == 410
    assert charges() == 1


def test_the_tombstone_of_a_key_with_a_time_goes_and_the_key_stays_refused(client: Client) -> None:
    key = uuid7(datetime.now(UTC))
    post(client, "/plain/", key=key)
    post(client, "/plain/", key="timeless")
    age(61)
    purge()

    assert Record.objects.count() == 1
    assert (
        post(client, "/plain/", key=uuid7(datetime.now(UTC) - timedelta(days=61))).status_code
        == 410
    )
    assert post(client, "/plain/", key="timeless").status_code == 410
    assert charges() == 2


def test_the_tombstone_of_an_issued_token_goes_and_the_token_stays_refused(
    client: Client,
) -> None:
    token = client.post("/api/tokens/").json()["token"]
    post(client, "/plain/", key=token)
    age(61)
    purge()

    assert not Record.objects.exists()
    assert post(client, "/plain/", key=token).status_code == 400, "never issued, as far as is known"
    assert charges() == 1


def test_a_token_older_than_two_retentions_is_refused_by_its_own_time(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    long_ago = "SELECT (extract(epoch FROM now() - interval '61 days') * 1000)::bigint"
    monkeypatch.setattr("idempotency.tokens.NOW", long_ago)
    token = client.post("/api/tokens/").json()["token"]

    assert post(client, "/plain/", key=token).status_code == 410
    assert charges() == 0


@pytest.mark.parametrize(
    ("key", "status"),
    [("ffffffff-ffff-7fff-bfff-ffffffffffff", 200), ("tok_ffffffffffff_made-up", 400)],
)
def test_a_key_whose_time_is_none_is_a_key_without_a_time(
    key: str, status: int, client: Client
) -> None:
    assert [post(client, "/plain/", key=key).status_code for _ in range(2)] == [status] * 2
    assert client.get(f"/api/keys/{key}/").status_code == (200 if status == 200 else 404)
    age(61)
    purge()
    assert Record.objects.count() == charges() == (1 if status == 200 else 0)


def test_the_tombstone_of_a_key_from_the_future_stays_until_its_own_time_is_over(
    client: Client,
) -> None:
    key = uuid7(datetime.now(UTC) + timedelta(days=365))
    post(client, "/plain/", key=key)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(
            "UPDATE idempotency_record SET created_at = now() - interval '61 days',"
            " retained_until = now() - interval '31 days'"
        )
    purge()

    assert Record.objects.count() == 1
    assert post(client, "/plain/", key=key).status_code == 410


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM idempotency_record",
        "UPDATE idempotency_record SET identity = 'x'",
        "UPDATE idempotency_record SET fingerprint = 'x'",
        "UPDATE idempotency_record SET subject = 'x'",
        "UPDATE idempotency_record SET body = 'x'",
        "UPDATE idempotency_record SET created_at = now() + interval '1 day'",
    ],
)
def test_the_database_refuses_to_forget_or_rewrite_a_record(statement: str, client: Client) -> None:
    post(client, "/plain/")
    with pytest.raises(IntegrityError), connection.cursor() as cursor:
        cursor.execute(statement)


def test_signals_say_what_became_of_requests_and_never_the_key(client: Client) -> None:
    seen: list[tuple[str, dict[str, Any]]] = []

    def listen(name: str) -> Any:
        def receiver(sender: Any, signal: Any, **facts: Any) -> None:
            seen.append((name, facts))

        return receiver

    receivers = {name: listen(name) for name in ("executed", "replayed", "refused")}
    for name, receiver in receivers.items():
        getattr(signals, name).connect(receiver)
    try:
        post(client, "/plain/", key="secret-key")
        post(client, "/plain/", key="secret-key")
        post(client, "/plain/?other", key="secret-key")
    finally:
        for name, receiver in receivers.items():
            getattr(signals, name).disconnect(receiver)

    assert [name for name, _ in seen] == ["executed", "replayed", "refused"]
    assert seen[2][1]["slug"] == "idempotency-key-reused"
    assert "secret-key" not in str(seen)


def test_a_receiver_that_fails_changes_nothing(client: Client) -> None:
    def fail(**_: Any) -> None:
        raise RuntimeError("a bug of the receiver's")

    signals.executed.connect(fail)
    try:
        assert post(client, "/plain/").status_code == 200
    finally:
        signals.executed.disconnect(fail)
    assert post(client, "/plain/")["Idempotent-Replayed"] == "true"


def changed(statement: str) -> None:
    """Execute a statement past the guards."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(statement)


OLD_KEY = "UPDATE idempotency_record SET key_made_at = now() - interval '61 days'"
OLD = OLD_KEY + ", created_at = now() - interval '61 days'"
TOMBSTONE = "UPDATE idempotency_record SET status = NULL, body = NULL, scope = '', key = ''"


def test_only_a_tombstone_is_deleted_by_its_keys_time(client: Client) -> None:
    post(client, "/plain/")
    changed(OLD)
    assert delete_tombstones() == 0
    changed(TOMBSTONE)
    assert delete_tombstones() == 1


def test_a_young_tombstone_of_an_old_key_stays(client: Client) -> None:
    post(client, "/plain/")
    changed(OLD_KEY)
    changed(TOMBSTONE)
    assert delete_tombstones() == 0
    assert Record.objects.exists()


@pytest.mark.parametrize("made", [OLD, TOMBSTONE], ids=["a response", "a key without a time"])
def test_the_database_deletes_only_tombstones_of_keys_with_a_time(
    made: str, client: Client
) -> None:
    post(client, "/plain/")
    changed(made)
    with pytest.raises(IntegrityError, match="stays used"):
        Record.objects.all().delete()


@pytest.mark.parametrize(("subject", "status"), [("thing:7", 200), ("", 202)])
def test_only_a_provisional_response_about_the_subject_is_replaced(
    subject: str, status: int, client: Client
) -> None:
    post(client, "/plain/")
    changed(f"UPDATE idempotency_record SET subject = '{subject}', status = {status}")
    assert replace_provisional(subject, HttpResponse("final")) == 0


def test_a_provisional_response_about_another_subject_stays(client: Client) -> None:
    for thing in (7, 8):
        post(client, f"/class/{thing}/", key=f"k{thing}")
    changed("UPDATE idempotency_record SET status = 202")

    assert replace_provisional("thing:7", HttpResponse("final")) == 1

    assert Record.objects.get(key="k7").status == 200
    assert Record.objects.get(key="k8").status == 202


def test_a_cookie_is_never_stored_whatever_the_settings_name(settings: Any) -> None:
    settings.IDEMPOTENCY = {"STORED_HEADERS": ("Set-Cookie", "Location")}
    response = HttpResponse(headers={"Set-Cookie": "session=1", "Location": "/here/"})
    assert columns_of(response)["headers"] == '{"Location": "/here/"}'


def test_a_token_that_changes_hands_while_the_request_runs_is_not_consumed(
    client: Client, at_failpoint: Callable[..., None]
) -> None:
    token = client.post("/api/tokens/").json()["token"]
    other = connection.copy()

    def give_away() -> None:
        with other.cursor() as cursor:
            cursor.execute("UPDATE idempotency_token SET scope = 'somebody'")
        other.close()

    at_failpoint("executed", give_away)
    assert post(client, "/plain/", key=token).status_code == 400
    assert charges() == 0
    assert Token.objects.get().scope == "somebody"
