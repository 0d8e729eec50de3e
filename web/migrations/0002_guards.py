"""A changed password revokes the API tokens of its user, in its commit and by whatever route."""

from django.db import migrations

FORWARD = """
-- `web.api_tokens.announce_new_hash` names the one hash that is of the same password as before.
CREATE FUNCTION web_revoke_api_tokens() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('web.same_password', true)
       IS DISTINCT FROM encode(sha256(convert_to(NEW.password, 'UTF8')), 'hex') THEN
        DELETE FROM web_apitoken WHERE user_id = NEW.id;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER web_apitoken_revoked AFTER UPDATE OF password ON auth_user FOR EACH ROW
    WHEN (NEW.password IS DISTINCT FROM OLD.password)
    EXECUTE FUNCTION web_revoke_api_tokens();
"""
BACKWARD = """
DROP TRIGGER web_apitoken_revoked ON auth_user;
DROP FUNCTION web_revoke_api_tokens();
"""


class Migration(migrations.Migration):
    dependencies = [("web", "0001_initial")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
