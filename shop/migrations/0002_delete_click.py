"""The journal of duplicates replaces the recorded clicks."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("shop", "0001_initial")]

    operations = [migrations.DeleteModel("Click")]
