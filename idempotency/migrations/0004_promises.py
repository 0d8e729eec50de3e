"""What a constraint can't say: a record is never renamed, its response neither changed nor lost.

A response goes when its promised time is over, or with the promise itself, in one UPDATE that names
both. A tombstone goes when the horizon refuses its key everywhere, and the horizon only moves on.
"""

from importlib import import_module

from django.db import migrations

guards = import_module("idempotency.migrations.0002_guards")

# Made before there were promises: by servers whose RETENTION was its default.
PROMISE = """
UPDATE idempotency_record SET retained_until = created_at + interval '30 days'
 WHERE body IS NOT NULL;
"""

FORWARD = """
CREATE OR REPLACE FUNCTION idempotency_keep_record() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF OLD.body IS NULL
           AND OLD.key_made_at < (SELECT keys_made_before FROM idempotency_horizon) THEN
            RETURN OLD;
        END IF;
        RAISE EXCEPTION 'a used key stays used: its record is never deleted'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'idempotency_record_kept';
    END IF;
    IF (NEW.id, NEW.identity, NEW.fingerprint, NEW.fingerprint_version, NEW.fingerprint_by,
        NEW.newer_fingerprints, NEW.key_made_at, NEW.created_at)
       IS DISTINCT FROM
       (OLD.id, OLD.identity, OLD.fingerprint, OLD.fingerprint_version, OLD.fingerprint_by,
        OLD.newer_fingerprints, OLD.key_made_at, OLD.created_at)
       OR NEW.status IS NOT NULL
          AND (NEW.scope, NEW.key, NEW.method, NEW.path, NEW.subject, NEW.request_id)
              IS DISTINCT FROM
              (OLD.scope, OLD.key, OLD.method, OLD.path, OLD.subject, OLD.request_id) THEN
        RAISE EXCEPTION 'a used key stays used: its record is never renamed'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'idempotency_record_kept';
    END IF;
    IF NEW.status IS NOT NULL AND OLD.status IS DISTINCT FROM 202
           AND (NEW.status, NEW.content_type, NEW.headers, NEW.body)
               IS DISTINCT FROM (OLD.status, OLD.content_type, OLD.headers, OLD.body) THEN
        RAISE EXCEPTION 'a key has one response: only a provisional one is replaced'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'idempotency_record_one_response';
    END IF;
    IF NEW.status IS NOT NULL AND NEW.retained_until < OLD.retained_until
       OR NEW.status IS NULL AND OLD.status IS NOT NULL
          AND NEW.retained_until > clock_timestamp() THEN
        RAISE EXCEPTION 'a response is retained for as long as was promised'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'idempotency_record_retained';
    END IF;
    RETURN NEW;
END $$;
CREATE FUNCTION idempotency_keep_horizon() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' OR NEW.keys_made_before < OLD.keys_made_before THEN
        RAISE EXCEPTION 'a refused key stays refused: the horizon never moves back'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'idempotency_horizon_kept';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER idempotency_horizon_kept BEFORE UPDATE OR DELETE ON idempotency_horizon
    FOR EACH ROW EXECUTE FUNCTION idempotency_keep_horizon();
"""
BACKWARD = f"""
DROP TRIGGER idempotency_horizon_kept ON idempotency_horizon;
DROP FUNCTION idempotency_keep_horizon();
{guards.BACKWARD}
{guards.FORWARD}
"""


class Migration(migrations.Migration):
    dependencies = [("idempotency", "0003_retained_until")]
    operations = [
        migrations.RunSQL(PROMISE, migrations.RunSQL.noop),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
