"""The tokens of rest_framework.authtoken work on, by their digests.

Its table stays as it is: servers of the earlier version read it until the last one is replaced.
"""

from django.db import migrations

COPY = """
DO $$ BEGIN
    IF to_regclass('authtoken_token') IS NOT NULL THEN
        INSERT INTO web_apitoken (user_id, digest, name, created_at)
        SELECT user_id, encode(sha256(convert_to(key, 'UTF8')), 'hex'), 'earlier token', created
          FROM authtoken_token
            ON CONFLICT (digest) DO NOTHING;
    END IF;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("web", "0002_guards")]
    operations = [migrations.RunSQL(COPY, migrations.RunSQL.noop)]
