"""Each of the two conditions has a query of its own: one for both is planned by every commit."""

from django.db import migrations

FORWARD = """
CREATE OR REPLACE FUNCTION settlement_check_order() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    agrees boolean;
BEGIN
    IF NEW.status = 2 THEN
        agrees := EXISTS (
            SELECT FROM payments_payment
             WHERE order_id = NEW.id AND outcome = 'succeeded' AND account_id = NEW.account_id
               AND amount = NEW.amount AND currency = NEW.currency);
    ELSE
        agrees := NOT EXISTS (
            SELECT FROM payments_payment WHERE order_id = NEW.id AND outcome = 'succeeded');
    END IF;
    IF NOT agrees THEN
        RAISE EXCEPTION 'order % and its payment disagree', NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'orders_order_settled_as_paid';
    END IF;
    RETURN NULL;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("settlement", "0001_guards")]
    operations = [migrations.RunSQL(FORWARD, migrations.RunSQL.noop)]
