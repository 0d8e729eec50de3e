"""202 is provisional: the only answer that another may take the place of."""

from django.db import migrations, models

FORWARD = """
CREATE OR REPLACE FUNCTION idempotency_keep_record() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' OR (NEW.caller_id, NEW.key, NEW.fingerprint, NEW.fingerprint_version)
           IS DISTINCT FROM (OLD.caller_id, OLD.key, OLD.fingerprint, OLD.fingerprint_version) THEN
        RAISE EXCEPTION 'a used key stays used: its record is never deleted or renamed'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'idempotency_record_kept';
    END IF;
    IF NEW.status IS NOT NULL AND OLD.status IS DISTINCT FROM 202
           AND (NEW.status, NEW.body) IS DISTINCT FROM (OLD.status, OLD.body) THEN
        RAISE EXCEPTION 'a key has one answer: only a provisional one is replaced'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'idempotency_record_one_answer';
    END IF;
    RETURN NEW;
END $$;
"""
BACKWARD = """
CREATE OR REPLACE FUNCTION idempotency_keep_record() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' OR (NEW.caller_id, NEW.key, NEW.fingerprint, NEW.fingerprint_version)
           IS DISTINCT FROM (OLD.caller_id, OLD.key, OLD.fingerprint, OLD.fingerprint_version) THEN
        RAISE EXCEPTION 'a used key stays used: its record is never deleted or renamed'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'idempotency_record_kept';
    END IF;
    RETURN NEW;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("idempotency", "0002_records_are_kept")]
    operations = [
        migrations.AddIndex(
            model_name="record",
            index=models.Index(
                condition=models.Q(("status", 202)),
                fields=["path"],
                name="idempotency_record_provisional",
            ),
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
