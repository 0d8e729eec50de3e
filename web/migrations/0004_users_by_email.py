"""Users are found by their e-mail address, in any case, however many there are."""

from django.conf import settings
from django.db import migrations

# Of a session that has limits: to build an index takes as long as it takes.
NO_LIMITS = "SET statement_timeout = 0; SET lock_timeout = 0"
LIMITS = "RESET statement_timeout; RESET lock_timeout"


class Migration(migrations.Migration):
    atomic = False  # requests go on while the index is built
    dependencies = [
        ("web", "0003_old_tokens"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RunSQL(NO_LIMITS, LIMITS),
        migrations.RunSQL(
            "CREATE INDEX CONCURRENTLY IF NOT EXISTS web_user_email ON auth_user"
            " (upper(email::text)) WHERE email <> ''",
            "DROP INDEX web_user_email",
        ),
        migrations.RunSQL(LIMITS, NO_LIMITS),
    ]
