"""What a signal carries, and when it is sent."""

import threading
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client

from idempotency import signals
from idempotency.models import Record
from idempotency.tests.conftest import charges
from idempotency.tests.processes import until
from idempotency.tests.project.models import User
from idempotency.tests.support import age
from idempotency.tests.test_views import post

pytestmark = pytest.mark.django_db(transaction=True)


def test_executed_is_sent_after_the_commit_with_the_subject_and_no_key(client: Client) -> None:
    seen: list[tuple[int, dict[str, Any]]] = []

    def receive(sender: Any, signal: Any, **facts: Any) -> None:
        other = connection.copy()
        with other.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM idempotency_record")
            seen.append((cursor.fetchone()[0], facts))
        other.close()

    signals.executed.connect(receive)
    try:
        post(client, "/class/7/", key="secret-key")
    finally:
        signals.executed.disconnect(receive)

    ((committed, facts),) = seen
    assert committed == 1
    assert facts["subject"] == "thing:7"
    assert facts.keys() == {
        *("scope", "key_digest", "subject", "request_id"),
        *("identity", "status", "superseded"),
        *("seconds", "waited_seconds", "steps"),
    }
    record = Record.objects.get()
    assert (facts["identity"], facts["status"]) == (bytes(record.identity), record.status)
    assert "secret-key" not in str(facts)


def test_executed_is_not_sent_of_a_response_that_was_rolled_back(
    client: Client, settings: Any
) -> None:
    settings.IDEMPOTENCY = {"NOT_STORED": frozenset({418})}
    seen: list[str] = []

    def receive(key_digest: str, **_: Any) -> None:
        seen.append(key_digest)

    signals.executed.connect(receive)
    try:
        assert post(client, "/teapot/").status_code == 418
        assert seen == []
        post(client, "/plain/")
        assert len(seen) == 1
    finally:
        signals.executed.disconnect(receive)


def test_purged_is_sent_with_the_count(client: Client) -> None:
    counts: list[int] = []

    def receive(count: int, **_: Any) -> None:
        counts.append(count)

    for key in "abc":
        post(client, "/plain/", key=key)
    age(31)
    signals.purged.connect(receive)
    try:
        call_command("purge_idempotency_records", batch=1, verbosity=0)
    finally:
        signals.purged.disconnect(receive)
    assert counts == [3]


def test_waited_is_sent_by_a_duplicate_that_waited_for_the_first(client: Client) -> None:
    seen: list[str] = []

    def receive(scope: str, **_: Any) -> None:
        seen.append(scope)

    def click() -> None:
        post(client, "/slow/")
        connection.close()

    first = threading.Thread(target=click)
    signals.waited.connect(receive)
    try:
        first.start()
        until(lambda: client.get("/api/keys/k/").json().get("state") == "in_flight")
        duplicate = post(client, "/slow/")
        first.join()
    finally:
        signals.waited.disconnect(receive)

    assert duplicate["Idempotent-Replayed"] == "true"
    assert seen == [f"user:{User.objects.get().pk}"]
    assert charges() == 1
