"""The journal of duplicates replaces the counts by the hour."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("operations", "0001_initial")]

    operations = [migrations.DeleteModel("HourlyCount")]
