"""The timeouts of the database's user, for sessions that a pooler opens."""

import pytest
from django.core.management import call_command
from django.db import connection


@pytest.mark.django_db
def test_the_role_carries_the_timeouts_however_often_they_are_set() -> None:
    settings = "SELECT setconfig FROM pg_db_role_setting WHERE setrole = CURRENT_USER::regrole"
    with connection.cursor() as cursor:
        call_command("set_role_timeouts", verbosity=0)
        call_command("set_role_timeouts", verbosity=0)
        cursor.execute(settings)
        (carried,) = cursor.fetchone()
    assert {"statement_timeout=10s", "lock_timeout=5s"} <= set(carried)
