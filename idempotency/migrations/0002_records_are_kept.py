from django.db import migrations

FORWARD = """
CREATE FUNCTION idempotency_keep_record() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' OR (NEW.caller_id, NEW.key, NEW.fingerprint, NEW.fingerprint_version)
           IS DISTINCT FROM (OLD.caller_id, OLD.key, OLD.fingerprint, OLD.fingerprint_version) THEN
        RAISE EXCEPTION 'a used key stays used: its record is never deleted or renamed'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'idempotency_record_kept';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER idempotency_record_kept BEFORE UPDATE OR DELETE ON idempotency_record
    FOR EACH ROW EXECUTE FUNCTION idempotency_keep_record();
"""
BACKWARD = """
DROP TRIGGER idempotency_record_kept ON idempotency_record;
DROP FUNCTION idempotency_keep_record();
"""


class Migration(migrations.Migration):
    dependencies = [("idempotency", "0001_initial")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
