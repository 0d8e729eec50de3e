"""A response is retained for as long as its writer promised, whatever other servers are set to."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import IntegrityError, connection
from django.test import Client

from idempotency import tokens
from idempotency.models import Horizon, Record, Token
from idempotency.purge import delete_tombstones, erase_scope, purge_records
from idempotency.tests.conftest import charges
from idempotency.tests.processes import server
from idempotency.tests.project.models import User
from idempotency.tests.support import age, uuid7
from idempotency.tests.test_lifetime import purge
from idempotency.tests.test_views import post

pytestmark = pytest.mark.django_db(transaction=True)

HOUR, MONTH = 3600, 30 * 24 * 3600


def test_servers_of_different_settings_and_a_purge_never_contradict_each_other(
    client: Client, tmp_path: Path, settings: Any
) -> None:
    settings.IDEMPOTENCY = {"RETENTION": timedelta(seconds=HOUR)}  # of the purge
    with server(tmp_path, RETENTION=HOUR) as brief, server(tmp_path, RETENTION=MONTH) as lasting:
        first = lasting.post("/plain/", client, "for-a-month")
        brief.post("/plain/", client, "for-an-hour")
        age(1)
        for to_purge in (1, 0):
            for each in (brief, lasting):
                retry = each.post("/plain/", client, "for-a-month")
                assert (retry.status, retry.body) == (200, first.body)
                assert each.post("/plain/", client, "for-an-hour").status == 410
                assert b"completed" in each.send("GET", "/django/keys/for-a-month/", client).body
                assert b"expired" in each.send("GET", "/django/keys/for-an-hour/", client).body
            assert purge_records() == to_purge
    assert charges() == 2


def test_a_purge_by_another_clock_or_setting_is_refused_by_the_database(client: Client) -> None:
    """As an earlier release purged, by the age and its own setting."""
    post(client, "/plain/")
    age(29)
    with pytest.raises(IntegrityError, match="as was promised"), connection.cursor() as cursor:
        cursor.execute(
            "UPDATE idempotency_record SET status = NULL, body = NULL, scope = '', key = '',"
            " headers = '{}', content_type = '', method = '', path = '', request_id = ''"
            " WHERE created_at < now() - interval '1 day'"
        )
    assert post(client, "/plain/")["Idempotent-Replayed"] == "true"


def test_an_operator_may_lengthen_what_was_promised_and_not_shorten_it(client: Client) -> None:
    post(client, "/plain/")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE idempotency_record SET retained_until = retained_until + '30 days'")
        with pytest.raises(IntegrityError, match="as was promised"):
            cursor.execute("UPDATE idempotency_record SET retained_until = now() + '1 day'")
    age(31)
    purge()
    assert post(client, "/plain/")["Idempotent-Replayed"] == "true"


def test_a_person_who_asks_is_forgotten_before_the_promised_time(
    client: Client, alice: User
) -> None:
    post(client, "/plain/")
    assert erase_scope(f"user:{alice.pk}") == 1
    assert erase_scope(f"user:{alice.pk}") == 0
    assert Record.objects.get().body is None
    assert post(client, "/plain/").status_code == 410
    assert charges() == 1


def test_who_asks_to_be_forgotten_loses_their_tokens_and_nobody_else(db: None) -> None:
    for scope in ("user:1", "user:2"):
        tokens.issue(scope)
    erase_scope("user:1")
    assert [token.scope for token in Token.objects.all()] == ["user:2"]


def test_the_database_keeps_a_response_whose_key_is_refused_by_its_time(client: Client) -> None:
    post(client, "/plain/", key=uuid7(datetime.now(UTC)))
    Horizon.objects.create(id=1, keys_made_before=datetime.now(UTC) + timedelta(days=1))
    with pytest.raises(IntegrityError, match="stays used"):
        Record.objects.all().delete()


def test_a_key_whose_tombstone_is_gone_is_refused_by_every_server(
    client: Client, tmp_path: Path, settings: Any
) -> None:
    """One server's setting deleted it; the other one's alone would run the key a second time."""
    settings.IDEMPOTENCY = {"RETENTION": timedelta(seconds=HOUR)}
    key = uuid7(datetime.now(UTC))
    post(client, "/plain/", key=key)
    post(client, "/plain/", key="timeless")
    age(30)
    purge()
    assert Record.objects.count() == 2, "30 days and a retention are not over yet"
    age(1)
    aged = uuid7(datetime.now(UTC) - timedelta(days=31))
    purge()
    assert Record.objects.count() == 1

    with server(tmp_path, RETENTION=12 * MONTH) as lasting:
        assert lasting.post("/plain/", client, aged).status == 410
        assert b"expired" in lasting.send("GET", f"/django/keys/{aged}/", client).body
        young = uuid7(datetime.now(UTC) - timedelta(days=29))  # of a client whose clock is behind
        assert lasting.post("/plain/", client, young).status == 200
    assert charges() == 3


def test_the_horizon_only_moves_on(client: Client, settings: Any) -> None:
    delete_tombstones()
    first = Horizon.objects.get().keys_made_before
    settings.IDEMPOTENCY = {"RETENTION": timedelta(days=300)}
    delete_tombstones()
    assert Horizon.objects.get().keys_made_before == first
    settings.IDEMPOTENCY = {"RETENTION": timedelta(days=1)}
    delete_tombstones()
    assert Horizon.objects.get().keys_made_before > first


def test_the_database_keeps_a_tombstone_whose_key_is_not_refused_by_its_time(
    client: Client, alice: User
) -> None:
    post(client, "/plain/", key=uuid7(datetime.now(UTC)))
    erase_scope(f"user:{alice.pk}")
    for _ in range(2):  # without a horizon, and with one that is earlier
        with pytest.raises(IntegrityError, match="stays used"):
            Record.objects.all().delete()
        delete_tombstones()


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM idempotency_horizon",
        "UPDATE idempotency_horizon SET keys_made_before = keys_made_before - interval '1 s'",
    ],
)
def test_the_database_refuses_to_move_the_horizon_back(statement: str) -> None:
    delete_tombstones()
    with pytest.raises(IntegrityError, match="never moves back"), connection.cursor() as cursor:
        cursor.execute(statement)


# What an UPDATE may not change of a record, once it holds a final response: all of it.
CHANGES = {
    "id": "id + 1",
    "identity": "'another'",
    "scope": "'user:another'",
    "key": "'another'",
    "key_made_at": "now()",
    "fingerprint_version": "fingerprint_version + 1",
    "fingerprint_by": "'shop.keys.another'",
    "fingerprint": "'another'",
    "newer_fingerprints": """'{"2": "another"}'""",
    "method": "'PUT'",
    "path": "'/another/'",
    "subject": "'order:another'",
    "status": "202",
    "content_type": "'text/html'",
    "headers": """'{"Location": "/another/"}'""",
    "body": "'another'",
    "request_id": "'another'",
    "created_at": "created_at - interval '1 day'",
    "retained_until": "retained_until - interval '1 day'",
}


def test_the_list_of_columns_is_complete() -> None:
    assert list(CHANGES) == [field.column for field in Record._meta.concrete_fields]


@pytest.mark.parametrize("column", CHANGES)
def test_the_database_refuses_to_change_a_column_of_a_record(column: str, client: Client) -> None:
    post(client, "/plain/")
    before = Record.objects.values().get()
    with pytest.raises(IntegrityError), connection.cursor() as cursor:
        cursor.execute(f"UPDATE idempotency_record SET {column} = {CHANGES[column]}")
    assert Record.objects.values().get() == before


# What stays of a tombstone, and so refuses the key.
OF_A_TOMBSTONE = (
    *("id", "identity", "key_made_at", "fingerprint_version", "fingerprint_by", "fingerprint"),
    *("newer_fingerprints", "created_at"),
)


@pytest.mark.parametrize("column", OF_A_TOMBSTONE)
def test_the_database_refuses_to_change_what_is_left_of_a_tombstone(
    column: str, client: Client
) -> None:
    post(client, "/plain/")
    age(31)
    purge()
    with pytest.raises(IntegrityError, match="never renamed"), connection.cursor() as cursor:
        cursor.execute(f"UPDATE idempotency_record SET {column} = {CHANGES[column]}")


def test_a_tombstone_never_gets_a_response(client: Client) -> None:
    post(client, "/plain/")
    age(31)
    purge()
    with pytest.raises(IntegrityError, match="never renamed"), connection.cursor() as cursor:
        cursor.execute("UPDATE idempotency_record SET status = 200, body = 'x', key = 'k'")
