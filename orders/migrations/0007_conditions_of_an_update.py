"""An UPDATE looks at the conditions of the columns that it sets, and at as little as they need.

PostgreSQL parses the WHEN of a trigger anew in each statement: a tenth of the time of an order's
update.
"""

import django.db.models.deletion
from django.db import migrations, models

STATUSES = [(0, "Submitted"), (1, "Paying"), (2, "Paid"), (3, "Failed")]
# In the order in which a transition locks them.
LOCK = "LOCK TABLE orders_order, orders_statuschange IN ACCESS EXCLUSIVE MODE;"
FORWARD = """
DROP TRIGGER orders_order_legal_transition ON orders_order;
DROP TRIGGER orders_order_terms ON orders_order;
-- 0→1, 1→2 and 1→3, as two digits each; a CHECK admits the statuses 0 to 3 only.
CREATE TRIGGER orders_order_legal_transition BEFORE UPDATE OF status ON orders_order FOR EACH ROW
    WHEN (NEW.status <> OLD.status AND 10 * OLD.status + NEW.status NOT IN (1, 12, 13))
    EXECUTE FUNCTION orders_refuse('orders_order_legal_transition');
CREATE TRIGGER orders_order_terms
    BEFORE UPDATE OF id, customer_id, amount, currency, created_at ON orders_order FOR EACH ROW
    WHEN ((NEW.id, NEW.customer_id, NEW.amount, NEW.currency, NEW.created_at)
          IS DISTINCT FROM
          (OLD.id, OLD.customer_id, OLD.amount, OLD.currency, OLD.created_at))
    EXECUTE FUNCTION orders_refuse('orders_order_terms');
CREATE TRIGGER orders_order_account_once BEFORE UPDATE OF account_id ON orders_order FOR EACH ROW
    WHEN (OLD.account_id IS NOT NULL AND NEW.account_id IS DISTINCT FROM OLD.account_id)
    EXECUTE FUNCTION orders_refuse('orders_order_account_once');
"""
BACKWARD = """
DROP TRIGGER orders_order_account_once ON orders_order;
DROP TRIGGER orders_order_terms ON orders_order;
DROP TRIGGER orders_order_legal_transition ON orders_order;
CREATE TRIGGER orders_order_legal_transition BEFORE UPDATE ON orders_order FOR EACH ROW
    WHEN (NEW.status <> OLD.status
          AND (OLD.status, NEW.status) NOT IN ((0, 1), (1, 2), (1, 3)))
    EXECUTE FUNCTION orders_refuse('orders_order_legal_transition');
CREATE TRIGGER orders_order_terms BEFORE UPDATE ON orders_order FOR EACH ROW
    WHEN ((NEW.id, NEW.customer_id, NEW.amount, NEW.currency, NEW.created_at)
          IS DISTINCT FROM
          (OLD.id, OLD.customer_id, OLD.amount, OLD.currency, OLD.created_at)
          OR (OLD.account_id IS NOT NULL AND NEW.account_id IS DISTINCT FROM OLD.account_id))
    EXECUTE FUNCTION orders_refuse('orders_order_terms');
"""


class Migration(migrations.Migration):
    dependencies = [("orders", "0006_searched_by_end")]
    operations = [
        migrations.RunSQL(LOCK, migrations.RunSQL.noop),
        migrations.AlterField(
            "statuschange",
            "order",
            models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="history",
                to="orders.order",
                verbose_name="order",
            ),
        ),
        # Without Django's own CHECK of a positive number: the legal transition admits no others.
        migrations.AlterField(
            "statuschange",
            "source",
            models.SmallIntegerField(choices=STATUSES, verbose_name="source"),
        ),
        migrations.AlterField(
            "statuschange",
            "target",
            models.SmallIntegerField(choices=STATUSES, verbose_name="target"),
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
