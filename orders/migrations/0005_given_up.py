"""A payment can be given up, and what relays called is recorded."""

from django.contrib.postgres.operations import AddConstraintNotValid, ValidateConstraint
from django.db import migrations, models
from django.db.models import Q, Value

# Of a session that has limits: to look at every row takes as long as it takes.
NO_LIMITS = "SET statement_timeout = 0; SET lock_timeout = 0"
LIMITS = "RESET statement_timeout; RESET lock_timeout"

BY_SOMEBODY = models.CheckConstraint(
    condition=Q(given_up_by="", given_up_reason="") | ~Q(given_up_by="") & ~Q(given_up_reason=""),
    name="orders_paymentrequest_given_up_with_a_reason",
)


class Migration(migrations.Migration):
    atomic = False  # requests go on while the rows are looked at
    dependencies = [("orders", "0004_searched_by_amount")]

    operations = [
        migrations.AddField(
            "paymentrequest",
            "given_up_by",
            models.CharField(blank=True, db_default="", max_length=150, verbose_name="given up by"),
        ),
        migrations.AddField(
            "paymentrequest",
            "given_up_reason",
            models.TextField(blank=True, db_default="", verbose_name="reason"),
        ),
        migrations.AddField(
            "paymentrequest",
            "calls",
            models.JSONField(db_default=Value([], models.JSONField()), verbose_name="calls"),
        ),
        AddConstraintNotValid("paymentrequest", BY_SOMEBODY),
        migrations.RunSQL(NO_LIMITS, LIMITS),
        ValidateConstraint("paymentrequest", BY_SOMEBODY.name),
        migrations.RunSQL(LIMITS, NO_LIMITS),
    ]
