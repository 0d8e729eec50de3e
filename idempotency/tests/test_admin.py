"""The admin's pages of the app, in a project that is not the one it was written in."""

from uuid import UUID

import pytest
from django.db import connection, transaction
from django.test import Client

from idempotency.models import Record
from idempotency.tests.conftest import Debiting, signed_in
from idempotency.tests.project.models import User


@pytest.fixture
def admin(db: None) -> Client:
    return signed_in(User.objects.create_superuser("admin"))


@pytest.mark.parametrize("path", ["/refunds/", f"/orders/{UUID(int=7)}/pay/"])
def test_a_record_of_any_path_has_its_page(path: str, admin: Client, debit: Debiting) -> None:
    debit()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("UPDATE idempotency_record SET path = %s", [path])
    record = Record.objects.get()

    listed = admin.get("/admin/idempotency/record/")
    page = admin.get(f"/admin/idempotency/record/{record.pk}/change/")

    assert (listed.status_code, page.status_code) == (200, 200)
    assert path in page.text


def test_tokens_are_listed_and_found_by_the_whole_token(admin: Client, token: str) -> None:
    found = admin.get("/admin/idempotency/token/", {"q": token})
    assert found.context["cl"].result_count == 1


def test_nobody_adds_changes_or_deletes_a_record(admin: Client, debit: Debiting) -> None:
    debit()
    record = Record.objects.get()
    for action in ("add/", f"{record.pk}/change/", f"{record.pk}/delete/"):
        assert admin.post(f"/admin/idempotency/record/{action}", {}).status_code == 403
