"""The admin finds tombstones, and records by key or request id, however many there are."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models import Q

# Of a session that has limits: to build an index takes as long as it takes.
NO_LIMITS = "SET statement_timeout = 0; SET lock_timeout = 0"
LIMITS = "RESET statement_timeout; RESET lock_timeout"


class Migration(migrations.Migration):
    atomic = False  # requests go on while the indexes are built
    dependencies = [("idempotency", "0005_response_or_tombstone")]

    operations = [
        migrations.RunSQL(NO_LIMITS, LIMITS),
        AddIndexConcurrently(
            "record",
            models.Index(
                fields=["-id"],
                condition=Q(body__isnull=True),
                name="idempotency_record_tombstones",
            ),
        ),
        AddIndexConcurrently(
            "record",
            models.Index(fields=["key"], condition=~Q(key=""), name="idempotency_record_key"),
        ),
        AddIndexConcurrently(
            "record",
            models.Index(
                fields=["request_id"],
                condition=~Q(request_id=""),
                name="idempotency_record_request",
            ),
        ),
        migrations.RunSQL(LIMITS, NO_LIMITS),
    ]
