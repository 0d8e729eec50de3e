"""Payment requests are found by their request's id, however many there are."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    atomic = False  # requests go on while the index is built
    dependencies = [("orders", "0002_guards")]

    operations = [
        AddIndexConcurrently(
            "paymentrequest",
            models.Index(
                fields=["request_id"],
                condition=~Q(request_id=""),
                name="orders_paymentrequest_request",
            ),
        ),
    ]
