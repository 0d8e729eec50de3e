"""The start-up check looks for its own trigger on its own table: another one does not count."""

import pytest
from django.db import connection

from idempotency.tests.test_checks import ids

DROP = "DROP TRIGGER idempotency_record_kept ON idempotency_record"
ANOTHER = (
    "CREATE TRIGGER {name} BEFORE UPDATE ON {table}"
    " FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()"
)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("idempotency_record_kept", "idempotency_token"),
        ("another", "idempotency_record"),
    ],
)
def test_a_trigger_of_another_table_or_name_is_no_guard(name: str, table: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(DROP)
        cursor.execute(ANOTHER.format(name=name, table=table))

    assert ids(databases=["default"]) == {"idempotency.E005"}
