"""Keys of another package are refused for everybody, and never run again."""

from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.http import HttpRequest
from django.test import Client

from idempotency import read_key, signals
from idempotency.migrating import import_keys, refuse_imported
from idempotency.models import Record
from idempotency.tests.conftest import charges, signed_in
from idempotency.tests.project.models import Charge, User
from idempotency.tests.test_views import post

pytestmark = pytest.mark.django_db(transaction=True)


def scope(request: HttpRequest) -> str:
    refuse_imported(read_key(request))
    return f"user:{request.user.pk}"


def import_lines(text: str, **options: Any) -> str:
    written = StringIO()
    call_command("import_idempotency_keys", keys=StringIO(text), stdout=written, **options)
    return written.getvalue()


@pytest.mark.parametrize("path", ["/rest/", "/plain/"])
def test_an_imported_key_is_refused_for_everybody_and_others_run(
    path: str, client: Client, settings: Any
) -> None:
    settings.IDEMPOTENCY = {"SCOPE": scope}
    assert "2 keys imported" in import_lines("old-1\n\n  old-2  \n", batch=1)
    assert "0 keys imported" in import_lines("old-2\n")

    for each in (client, signed_in(User.objects.create_user("bob"))):
        assert post(each, path, key="old-1").status_code == 410
        assert post(each, path, key='"old-2"').status_code == 410
    assert charges() == 0

    assert post(client, path, key="new").status_code < 300
    assert post(client, path, key="new")["Idempotent-Replayed"] == "true"
    assert charges() == 1
    assert client.post("/api/tokens/").status_code == 201  # a request without a key


def test_an_imported_key_is_a_tombstone_like_any_other(client: Client) -> None:
    assert import_keys(f"old-{number}" for number in range(2500)) == 2500
    tombstone = Record.objects.first()

    assert tombstone is not None
    assert (tombstone.status, tombstone.body, tombstone.scope, tombstone.key) == (
        None,
        None,
        "",
        "",
    )
    call_command("purge_idempotency_records", verbosity=0)
    assert Record.objects.count() == 2500


def test_a_key_that_a_restored_backup_has_forgotten_is_refused_by_its_identity(
    client: Client,
) -> None:
    logged: list[str] = []

    def receive(identity: bytes, **_: Any) -> None:
        logged.append(identity.hex())

    signals.executed.connect(receive)
    try:
        assert post(client, "/plain/", key="lost").status_code == 200
    finally:
        signals.executed.disconnect(receive)
    forget_everything()
    text = "\n".join(logged)

    assert "1 keys imported" in import_lines(text, identities=True)
    assert "0 keys imported" in import_lines(text, identities=True)

    assert post(client, "/plain/", key="lost").status_code == 410
    assert charges() == 0
    assert post(client, "/plain/", key="other").status_code == 200


def test_an_import_of_identities_overwrites_no_record(client: Client) -> None:
    first = post(client, "/plain/", key="here")
    identity = bytes(Record.objects.get().identity).hex()

    assert "0 keys imported" in import_lines(identity, identities=True)

    assert post(client, "/plain/", key="here").content == first.content


@pytest.mark.parametrize("line", ["no hex", "abcd", "ab" * 33])
def test_what_is_no_identity_is_refused_in_a_line(line: str) -> None:
    with pytest.raises(CommandError, match="is no identity of a record"):
        import_lines(line, identities=True)
    assert not Record.objects.exists()


def forget_everything() -> None:
    """Do what restoring an older backup does."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("DELETE FROM idempotency_record")
    Charge.objects.all().delete()
