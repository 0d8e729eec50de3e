"""Payment requests are found by their request's id, however many there are."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models import Q

# Of a session that has limits: to build an index takes as long as it takes.
NO_LIMITS = "SET statement_timeout = 0; SET lock_timeout = 0"
LIMITS = "RESET statement_timeout; RESET lock_timeout"


class Migration(migrations.Migration):
    atomic = False  # requests go on while the index is built
    dependencies = [("orders", "0002_guards")]

    operations = [
        migrations.RunSQL(NO_LIMITS, LIMITS),
        AddIndexConcurrently(
            "paymentrequest",
            models.Index(
                fields=["request_id"],
                condition=~Q(request_id=""),
                name="orders_paymentrequest_request",
            ),
        ),
        migrations.RunSQL(LIMITS, NO_LIMITS),
    ]
