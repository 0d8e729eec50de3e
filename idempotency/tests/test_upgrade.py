"""Upgrading a database that has records: each is promised what its servers promised, and back."""

from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection
from django.test import Client

from idempotency.models import Record
from idempotency.tests.conftest import charges
from idempotency.tests.test_views import post

pytestmark = pytest.mark.django_db(transaction=True)

# As a server of the release before the promises stores a response.
STORE = """
INSERT INTO idempotency_record (
    identity, scope, key, fingerprint_version, fingerprint_by, fingerprint, method, path, subject,
    status, content_type, headers, body, request_id)
SELECT sha256(identity), scope, 'by an older server', 1, '', fingerprint, method, path, subject,
       status, content_type, headers, body, request_id FROM idempotency_record
"""


def migrate(name: str) -> None:
    call_command("migrate", "idempotency", name, verbosity=0)


def test_records_of_before_are_promised_thirty_days_and_stay_guarded(client: Client) -> None:
    first = post(client, "/plain/").content
    migrate("0002")
    try:
        with pytest.raises(IntegrityError), connection.cursor() as cursor:
            cursor.execute("UPDATE idempotency_record SET fingerprint = 'x'")
    finally:
        migrate("0004")

    record = Record.objects.get()
    assert record.retained_until - record.created_at == timedelta(days=30)
    assert post(client, "/plain/").content == first
    with pytest.raises(IntegrityError), connection.cursor() as cursor:
        cursor.execute("UPDATE idempotency_record SET fingerprint = 'x'")
    assert charges() == 1


def test_a_server_of_before_still_stores_during_the_upgrade(client: Client) -> None:
    post(client, "/plain/")
    with connection.cursor() as cursor:
        cursor.execute(STORE)
    older = Record.objects.get(key="by an older server")
    assert older.retained_until - older.created_at == timedelta(days=30)
    assert older.newer_fingerprints is None
