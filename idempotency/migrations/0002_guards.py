"""What a constraint can't say: a record is never renamed, its response never changed.

A 202 is provisional: the only response that another may replace. A tombstone keeps the identity
alone; it may be deleted only where its key says itself how old it is.
"""

from django.db import migrations

FORWARD = """
CREATE FUNCTION idempotency_keep_record() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF OLD.body IS NULL AND OLD.key_made_at IS NOT NULL THEN
            RETURN OLD;
        END IF;
        RAISE EXCEPTION 'a used key stays used: its record is never deleted'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'idempotency_record_kept';
    END IF;
    IF (NEW.identity, NEW.fingerprint, NEW.fingerprint_version, NEW.fingerprint_by, NEW.key_made_at,
        NEW.created_at)
       IS DISTINCT FROM
       (OLD.identity, OLD.fingerprint, OLD.fingerprint_version, OLD.fingerprint_by, OLD.key_made_at,
        OLD.created_at)
       OR NEW.status IS NOT NULL
          AND (NEW.scope, NEW.key, NEW.method, NEW.path, NEW.subject)
              IS DISTINCT FROM (OLD.scope, OLD.key, OLD.method, OLD.path, OLD.subject) THEN
        RAISE EXCEPTION 'a used key stays used: its record is never renamed'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'idempotency_record_kept';
    END IF;
    IF NEW.status IS NOT NULL AND OLD.status IS DISTINCT FROM 202
           AND (NEW.status, NEW.body) IS DISTINCT FROM (OLD.status, OLD.body) THEN
        RAISE EXCEPTION 'a key has one response: only a provisional one is replaced'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'idempotency_record_one_response';
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
