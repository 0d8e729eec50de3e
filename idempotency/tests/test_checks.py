"""What is wrong with a project's settings is said at start, with an id and what to do."""

from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, connections

from idempotency.conf import conf


def ids(**more: Any) -> set[str]:
    found = {str(message.id) for message in run_checks(**more)}
    return {identifier for identifier in found if identifier.startswith("idempotency.")}


def test_a_sound_project_has_nothing_to_say() -> None:
    assert ids() == set()


def test_atomic_requests_and_a_higher_isolation_level_are_errors(monkeypatch: Any) -> None:
    default = connections.settings["default"]
    monkeypatch.setitem(default, "ATOMIC_REQUESTS", True)
    monkeypatch.setitem(default, "OPTIONS", {"isolation_level": 3})
    assert ids() == {"idempotency.E002", "idempotency.E003"}


def test_another_database_than_postgresql_is_an_error(monkeypatch: Any) -> None:
    monkeypatch.setattr(
        connection._connections["default"]
        if hasattr(connection, "_connections")
        else connections["default"],
        "vendor",
        "sqlite",
        raising=False,
    )
    assert "idempotency.E001" in ids()


def test_settings_that_break_the_guarantee_are_named(settings: Any) -> None:
    settings.IDEMPOTENCY = {
        "RETENTION": timedelta(0),
        "WAITING_THREADS_MAX": 4,
        "STORED_HEADERS": ("Set-Cookie",),
    }
    settings.WEB_THREADS = 4
    assert ids() == {"idempotency.E004", "idempotency.W001", "idempotency.W002"}


WRONG = [
    *[("RETENTION", value) for value in (timedelta(0), timedelta(-1), timedelta(4000), 30, None)],
    *[("TOKEN_LIFETIME", value) for value in (timedelta(0), timedelta(-1), 30)],
    *[("RETRY_HORIZON", 7)],
    *[("WAIT_SECONDS", value) for value in (-1, 5000, "5", True, None, 1.5)],
    *[("WAIT_SECONDS_MAX", -1), ("WAITING_THREADS_MAX", -1), ("WAITING_THREADS_MAX", "all")],
    *[("RESPONSE_BYTES_MAX", 0), ("RESPONSE_BYTES_MAX", 10**10)],
    *[("TOKEN_RATE", value) for value in ((0, 60), (60, 0), (-1, 60), 60, (60,), ("60", 60), None)],
    *[("EXECUTION_RATE", value) for value in ((0, 60), (60, 10**9), 60, "60")],
]


@pytest.mark.parametrize(("name", "value"), WRONG, ids=repr)
def test_a_setting_outside_of_its_limits_stops_every_start(
    name: str, value: Any, settings: Any
) -> None:
    settings.IDEMPOTENCY = {name: value}
    with pytest.raises(ImproperlyConfigured) as refused:
        apps.get_app_config("idempotency").ready()
    assert str(refused.value).startswith(f"IDEMPOTENCY['{name}'] is ")
    assert str(refused.value).endswith(f", not {value!r}.")
    assert "idempotency.E004" in ids()


def test_settings_at_their_limits_start(settings: Any) -> None:
    for retention in (timedelta(minutes=1), timedelta(days=3650)):
        settings.IDEMPOTENCY = {"RETENTION": retention, "WAITING_THREADS_MAX": 0}
        apps.get_app_config("idempotency").ready()
    for rate in (None, (1, 1), [300, 60]):
        settings.IDEMPOTENCY = {"EXECUTION_RATE": rate}
        apps.get_app_config("idempotency").ready()


def test_a_retention_shorter_than_the_retry_horizon_is_an_error(settings: Any) -> None:
    settings.IDEMPOTENCY = {"RETENTION": timedelta(days=1), "RETRY_HORIZON": timedelta(days=1)}
    assert ids() == set()
    settings.IDEMPOTENCY = {"RETENTION": timedelta(days=1), "RETRY_HORIZON": timedelta(days=2)}
    assert ids() == {"idempotency.E007"}


def test_what_needs_a_session_is_an_error_behind_a_declared_pooler(
    settings: Any, monkeypatch: Any
) -> None:
    settings.IDEMPOTENCY = {"POOLER": True}
    assert ids() == {"idempotency.E006"}, "server-side cursors are on"
    default = connections.settings["default"]
    monkeypatch.setitem(default, "DISABLE_SERVER_SIDE_CURSORS", True)
    assert ids() == set()
    for name, value in {"options": "-c lock_timeout=5s", "prepare_threshold": 5}.items():
        monkeypatch.setitem(default, "OPTIONS", {name: value})
        assert ids() == {"idempotency.E006"}, name


def test_a_setting_that_there_is_not_is_an_error(settings: Any) -> None:
    settings.IDEMPOTENCY = {"RETENTOIN": 1}
    with pytest.raises(ImproperlyConfigured, match="RETENTOIN"):
        conf()


@pytest.mark.django_db(transaction=True)
def test_a_guard_that_is_disabled_or_gone_is_an_error() -> None:
    assert ids(databases=["default"]) == set()
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE idempotency_record DISABLE TRIGGER idempotency_record_kept")
        try:
            assert ids(databases=["default"]) == {"idempotency.E005"}
        finally:
            cursor.execute("ALTER TABLE idempotency_record ENABLE TRIGGER idempotency_record_kept")


@pytest.mark.django_db
def test_a_database_that_has_yet_to_be_migrated_can_be() -> None:
    """Django runs this check before it migrates: an error about a newer table would end that."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE idempotency_horizon RENAME TO not_yet")
    assert ids(databases=["default"]) == set()
