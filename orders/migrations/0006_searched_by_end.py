"""Orders are found by the end of their id, however many there are."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models

# Of a session that has limits: to build an index takes as long as it takes.
NO_LIMITS = "SET statement_timeout = 0; SET lock_timeout = 0"
LIMITS = "RESET statement_timeout; RESET lock_timeout"

ID_FROM_ITS_END = models.Func(
    models.F("id"),
    template='(reverse(right(%(expressions)s::text, 12)) COLLATE "C")',
    output_field=models.TextField(),
)


class Migration(migrations.Migration):
    atomic = False  # requests go on while the index is built
    dependencies = [("orders", "0005_given_up")]

    operations = [
        migrations.RunSQL(NO_LIMITS, LIMITS),
        AddIndexConcurrently("order", models.Index(ID_FROM_ITS_END, name="orders_order_id_end")),
        migrations.RunSQL(LIMITS, NO_LIMITS),
    ]
