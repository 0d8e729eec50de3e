"""Where orders and payments share a database, it refuses an order and a payment that disagree."""

from django.db import migrations

FORWARD = """
-- At commit: a paid order has a payment that succeeded, on its own terms; a failed one has not.
CREATE FUNCTION settlement_check_order() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.status = 2 AND NOT EXISTS (
           SELECT FROM payments_payment
            WHERE order_id = NEW.id AND outcome = 'succeeded' AND account_id = NEW.account_id
              AND amount = NEW.amount AND currency = NEW.currency)
       OR NEW.status = 3 AND EXISTS (
           SELECT FROM payments_payment WHERE order_id = NEW.id AND outcome = 'succeeded') THEN
        RAISE EXCEPTION 'order % and its payment disagree', NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'orders_order_settled_as_paid';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER orders_order_settled_as_paid AFTER UPDATE ON orders_order
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.status IN (2, 3))
    EXECUTE FUNCTION settlement_check_order();

-- A payment of a known order is for its amount, in its currency, from its account; and before the
-- order has one, from an account of its customer's; a settled order gets no first payment.
CREATE FUNCTION settlement_check_payment() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM orders_order placed WHERE placed.id = NEW.order_id
                AND (placed.amount <> NEW.amount OR placed.currency <> NEW.currency
                     OR placed.account_id <> NEW.account_id
                     OR placed.customer_id <> (
                        SELECT owner_id FROM payments_account WHERE id = NEW.account_id)
                     OR (placed.status IN (2, 3) AND NOT EXISTS (
                        SELECT FROM payments_payment WHERE order_id = NEW.order_id)))) THEN
        RAISE EXCEPTION 'order % has other terms than this payment', NEW.order_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'orders_payment_on_order_terms';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER orders_payment_on_order_terms BEFORE INSERT ON payments_payment
    FOR EACH ROW EXECUTE FUNCTION settlement_check_payment();
"""
BACKWARD = """
DROP TRIGGER orders_payment_on_order_terms ON payments_payment;
DROP TRIGGER orders_order_settled_as_paid ON orders_order;
DROP FUNCTION settlement_check_payment();
DROP FUNCTION settlement_check_order();
"""


class Migration(migrations.Migration):
    dependencies = [("orders", "0002_guards"), ("payments", "0002_guards")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
