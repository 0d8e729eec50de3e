"""One clock decides about tokens and retention: the database's, whatever the application's says."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from idempotency.tests.conftest import charges, signed_in
from idempotency.tests.project.models import User
from idempotency.tests.support import age
from idempotency.tests.test_views import post

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("hours", [-1, 1, -24 * 60, 24 * 60])
def test_a_wrong_clock_of_the_application_changes_nothing(
    hours: int, client: Client, alice: Any, monkeypatch: Any
) -> None:
    right = timezone.now
    monkeypatch.setattr(timezone, "now", lambda: right() + timedelta(hours=hours))
    assert abs(timezone.now() - right()) >= timedelta(minutes=59)
    client.force_login(alice)  # a session by that clock

    token = client.post("/api/tokens/").json()["token"]
    assert post(client, "/plain/", key=token).status_code == 200
    assert post(client, "/plain/", key=token)["Idempotent-Replayed"] == "true"
    age(29)
    assert post(client, "/plain/", key=token)["Idempotent-Replayed"] == "true"
    age(2)
    assert post(client, "/plain/", key=token).status_code == 410
    assert charges() == 1


def test_a_token_is_refused_once_its_lifetime_is_over_by_the_databases_clock(
    client: Client, monkeypatch: Any
) -> None:
    right = timezone.now
    token = client.post("/api/tokens/").json()["token"]
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE idempotency_token SET issued_at = issued_at - interval '31 minutes',"
            " expires_at = expires_at - interval '31 minutes'"
        )
    monkeypatch.setattr(timezone, "now", lambda: right() - timedelta(hours=1))

    assert post(client, "/plain/", key=token).status_code == 400
    assert charges() == 0


def test_a_token_of_another_user_is_refused(client: Client) -> None:
    token = client.post("/api/tokens/").json()["token"]
    bob = signed_in(User.objects.create_user("bob"))

    assert post(bob, "/plain/", key=token).status_code == 400
    assert post(client, "/plain/", key=token).status_code == 200
