"""The admin finds tombstones, and records by key or request id, however many there are."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    atomic = False  # requests go on while the indexes are built
    dependencies = [("idempotency", "0005_response_or_tombstone")]

    operations = [
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
    ]
