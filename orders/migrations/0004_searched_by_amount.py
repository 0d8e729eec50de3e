"""Orders are found by their amount, however many there are."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models

# Of a session that has limits: to build an index takes as long as it takes.
NO_LIMITS = "SET statement_timeout = 0; SET lock_timeout = 0"
LIMITS = "RESET statement_timeout; RESET lock_timeout"


class Migration(migrations.Migration):
    atomic = False  # requests go on while the index is built
    dependencies = [("orders", "0003_searched")]

    operations = [
        migrations.RunSQL(NO_LIMITS, LIMITS),
        AddIndexConcurrently(
            "order", models.Index(fields=["amount", "-id"], name="orders_order_amount")
        ),
        migrations.RunSQL(LIMITS, NO_LIMITS),
    ]
