"""What a constraint can't say: legal transitions, a history nobody can forge, sums."""

from django.db import migrations

FORWARD = """
CREATE FUNCTION orders_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%: % refused', TG_ARGV[0], TG_OP
        USING ERRCODE = 'check_violation', CONSTRAINT = TG_ARGV[0];
END $$;

-- The state machine: born submitted, then 0→1, 1→2, 1→3 and no other transition.
CREATE TRIGGER orders_order_born_submitted BEFORE INSERT ON orders_order FOR EACH ROW
    WHEN (NEW.status <> 0) EXECUTE FUNCTION orders_refuse('orders_order_born_submitted');
CREATE TRIGGER orders_order_legal_transition BEFORE UPDATE ON orders_order FOR EACH ROW
    WHEN (NEW.status <> OLD.status
          AND (OLD.status, NEW.status) NOT IN ((0, 1), (1, 2), (1, 3)))
    EXECUTE FUNCTION orders_refuse('orders_order_legal_transition');

-- What was ordered stays as it was; the account is chosen once, with the transition 0→1.
CREATE TRIGGER orders_order_terms BEFORE UPDATE ON orders_order FOR EACH ROW
    WHEN ((NEW.id, NEW.customer_id, NEW.amount, NEW.currency, NEW.created_at)
          IS DISTINCT FROM
          (OLD.id, OLD.customer_id, OLD.amount, OLD.currency, OLD.created_at)
          OR (OLD.account_id IS NOT NULL AND NEW.account_id IS DISTINCT FROM OLD.account_id))
    EXECUTE FUNCTION orders_refuse('orders_order_terms');
CREATE TRIGGER orders_order_kept BEFORE DELETE ON orders_order
    FOR EACH ROW EXECUTE FUNCTION orders_refuse('orders_order_kept');
CREATE TRIGGER orders_orderline_kept BEFORE UPDATE OR DELETE ON orders_orderline
    FOR EACH ROW EXECUTE FUNCTION orders_refuse('orders_orderline_kept');

-- The history is written here, by the statement that changes the status, and nowhere else.
CREATE FUNCTION orders_write_history() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO orders_statuschange (order_id, source, target)
    VALUES (NEW.id, OLD.status, NEW.status);
    RETURN NULL;
END $$;
CREATE TRIGGER orders_order_history AFTER UPDATE ON orders_order FOR EACH ROW
    WHEN (NEW.status <> OLD.status) EXECUTE FUNCTION orders_write_history();
CREATE TRIGGER orders_statuschange_by_trigger BEFORE INSERT ON orders_statuschange FOR EACH ROW
    WHEN (pg_trigger_depth() = 0)
    EXECUTE FUNCTION orders_refuse('orders_statuschange_by_trigger');
CREATE TRIGGER orders_statuschange_append_only BEFORE UPDATE OR DELETE ON orders_statuschange
    FOR EACH ROW EXECUTE FUNCTION orders_refuse('orders_statuschange_append_only');

-- At commit: the amount of an order is the sum of its lines.
CREATE FUNCTION orders_check_amount() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    placed uuid := to_jsonb(NEW) ->> TG_ARGV[0];
BEGIN
    IF (SELECT amount FROM orders_order WHERE id = placed) IS DISTINCT FROM
       (SELECT sum(quantity * unit_price) FROM orders_orderline WHERE order_id = placed) THEN
        RAISE EXCEPTION 'order % does not cost what its lines cost', placed
            USING ERRCODE = 'check_violation', CONSTRAINT = 'orders_order_amount';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER orders_order_amount AFTER INSERT ON orders_order
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION orders_check_amount('id');
CREATE CONSTRAINT TRIGGER orders_orderline_amount AFTER INSERT ON orders_orderline
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION orders_check_amount('order_id');


-- The request never changes, its result never changes once it is there, and no row is deleted.
CREATE TRIGGER orders_paymentrequest_kept BEFORE DELETE ON orders_paymentrequest
    FOR EACH ROW EXECUTE FUNCTION orders_refuse('orders_paymentrequest_kept');
CREATE TRIGGER orders_paymentrequest_unchanged BEFORE UPDATE ON orders_paymentrequest FOR EACH ROW
    WHEN (OLD.settled_at IS NOT NULL
          OR (NEW.order_id, NEW.body) IS DISTINCT FROM (OLD.order_id, OLD.body))
    EXECUTE FUNCTION orders_refuse('orders_paymentrequest_unchanged');
"""
BACKWARD = """

DROP TRIGGER orders_paymentrequest_unchanged ON orders_paymentrequest;
DROP TRIGGER orders_paymentrequest_kept ON orders_paymentrequest;
DROP TRIGGER orders_orderline_amount ON orders_orderline;
DROP TRIGGER orders_order_amount ON orders_order;
DROP TRIGGER orders_statuschange_append_only ON orders_statuschange;
DROP TRIGGER orders_statuschange_by_trigger ON orders_statuschange;
DROP TRIGGER orders_order_history ON orders_order;
DROP TRIGGER orders_orderline_kept ON orders_orderline;
DROP TRIGGER orders_order_kept ON orders_order;
DROP TRIGGER orders_order_terms ON orders_order;
DROP TRIGGER orders_order_legal_transition ON orders_order;
DROP TRIGGER orders_order_born_submitted ON orders_order;
DROP FUNCTION orders_check_amount();
DROP FUNCTION orders_write_history();
DROP FUNCTION orders_refuse();
"""


class Migration(migrations.Migration):
    dependencies = [("orders", "0001_initial")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
