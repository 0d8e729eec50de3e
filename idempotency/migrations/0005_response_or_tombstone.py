"""No record has a body without a status: a CHECK that is unknown admits."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("idempotency", "0004_promises"),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="record",
            name="idempotency_record_response_or_tombstone",
        ),
        migrations.AddConstraint(
            model_name="record",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("body__isnull", True), ("status__isnull", True)),
                    models.Q(
                        ("body__isnull", False),
                        ("status__isnull", False),
                        ("status__range", (200, 499)),
                    ),
                    _connector="OR",
                ),
                name="idempotency_record_response_or_tombstone",
            ),
        ),
    ]
