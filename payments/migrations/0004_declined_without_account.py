"""An order id can be declined before any account was charged for it."""

import django.db.models.deletion
from django.contrib.postgres.operations import AddConstraintNotValid, ValidateConstraint
from django.db import migrations, models
from django.db.models import Q

# Of a session that has limits: to look at every row takes as long as it takes.
NO_LIMITS = "SET statement_timeout = 0; SET lock_timeout = 0"
LIMITS = "RESET statement_timeout; RESET lock_timeout"

ACCOUNT_OR_DECLINED = models.CheckConstraint(
    condition=Q(account__isnull=False) | Q(outcome="declined"),
    name="payments_payment_charges_an_account",
)


class Migration(migrations.Migration):
    atomic = False  # requests go on while the rows are looked at
    dependencies = [("payments", "0003_chain_by_index")]

    operations = [
        AddConstraintNotValid("payment", ACCOUNT_OR_DECLINED),
        migrations.AlterField(
            "payment",
            "account",
            models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="payments",
                to="payments.account",
                verbose_name="account",
            ),
        ),
        migrations.RunSQL(NO_LIMITS, LIMITS),
        ValidateConstraint("payment", ACCOUNT_OR_DECLINED.name),
        migrations.RunSQL(LIMITS, NO_LIMITS),
    ]
