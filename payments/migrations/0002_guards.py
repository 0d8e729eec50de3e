"""What a constraint can't say: append-only rows, balances that follow entries, sums of zero."""

from django.db import migrations

FORWARD = """
CREATE FUNCTION payments_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%: % refused', TG_ARGV[0], TG_OP
        USING ERRCODE = 'check_violation', CONSTRAINT = TG_ARGV[0];
END $$;

-- Rows that never change and never go.
CREATE TRIGGER payments_entry_append_only BEFORE UPDATE OR DELETE ON payments_entry
    FOR EACH ROW EXECUTE FUNCTION payments_refuse('payments_entry_append_only');
CREATE TRIGGER payments_payment_kept BEFORE DELETE ON payments_payment
    FOR EACH ROW EXECUTE FUNCTION payments_refuse('payments_payment_kept');
CREATE TRIGGER payments_account_kept BEFORE DELETE ON payments_account
    FOR EACH ROW EXECUTE FUNCTION payments_refuse('payments_account_kept');

-- A payment changes once, from undecided to its outcome.
CREATE TRIGGER payments_payment_decided_once BEFORE UPDATE ON payments_payment FOR EACH ROW
    WHEN (OLD.outcome IS NOT NULL
          OR (NEW.id, NEW.order_id, NEW.account_id, NEW.amount, NEW.currency, NEW.created_at)
             IS DISTINCT FROM
             (OLD.id, OLD.order_id, OLD.account_id, OLD.amount, OLD.currency, OLD.created_at))
    EXECUTE FUNCTION payments_refuse('payments_payment_decided_once');

-- An account begins with its opening balance; after that only its balance changes.
CREATE TRIGGER payments_account_opening BEFORE INSERT ON payments_account FOR EACH ROW
    WHEN (NEW.balance IS DISTINCT FROM NEW.opening_balance)
    EXECUTE FUNCTION payments_refuse('payments_account_opening');
CREATE TRIGGER payments_account_terms BEFORE UPDATE ON payments_account FOR EACH ROW
    WHEN ((NEW.id, NEW.owner_id, NEW.currency, NEW.opening_balance)
          IS DISTINCT FROM (OLD.id, OLD.owner_id, OLD.currency, OLD.opening_balance))
    EXECUTE FUNCTION payments_refuse('payments_account_terms');

-- The balance that the entries of an account lead to; null for a settlement account.
CREATE FUNCTION payments_ledger_balance(account bigint) RETURNS bigint LANGUAGE sql AS $$
    SELECT coalesce((SELECT balance_after FROM payments_entry WHERE account_id = account
                      ORDER BY id DESC LIMIT 1),
                    (SELECT opening_balance FROM payments_account WHERE id = account))
$$;

-- An entry names an account of its own currency (no foreign key: that would lock the settlement
-- account's row in every payment) and carries the balance that it leads to.
CREATE FUNCTION payments_link_entry() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM payments_account
                    WHERE id = NEW.account_id AND currency = NEW.currency) THEN
        RAISE EXCEPTION 'no account % in %', NEW.account_id, NEW.currency
            USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'payments_entry_account';
    END IF;
    -- A customer's entries are a chain in the order of their ids. (Settlement's are none: payments
    -- that commit side by side write them in any order.)
    IF EXISTS (SELECT FROM payments_account WHERE id = NEW.account_id AND owner_id IS NOT NULL)
       AND EXISTS (SELECT FROM payments_entry
                    WHERE account_id = NEW.account_id AND id >= NEW.id) THEN
        RAISE EXCEPTION 'entry % would not be the last of account %', NEW.id, NEW.account_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'payments_entry_extends_chain';
    END IF;
    NEW.balance_after := payments_ledger_balance(NEW.account_id) + NEW.amount;
    RETURN NEW;
END $$;
CREATE TRIGGER payments_entry_account BEFORE INSERT ON payments_entry
    FOR EACH ROW EXECUTE FUNCTION payments_link_entry();

-- At commit: the balance is where the entries lead. Each entry extends a chain, so the last one
-- tells, however long the history is.
CREATE FUNCTION payments_check_balance() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    account bigint := to_jsonb(NEW) ->> TG_ARGV[0];
BEGIN
    IF (SELECT balance FROM payments_account WHERE id = account)
       IS DISTINCT FROM payments_ledger_balance(account) THEN
        RAISE EXCEPTION 'balance of account % is not what its entries lead to', account
            USING ERRCODE = 'check_violation', CONSTRAINT = 'payments_account_balance';
    END IF;
    RETURN NULL;
END $$;

-- At commit: a payment is decided; succeeded, it took its amount from its account and gave it to
-- settlement; declined, it moved nothing.
CREATE FUNCTION payments_check_payment() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    payment payments_payment;
    legs bigint;
    taken bigint;
    given bigint;
BEGIN
    SELECT * INTO payment FROM payments_payment
     WHERE id = (to_jsonb(NEW) ->> TG_ARGV[0])::uuid;
    SELECT count(*),
           count(*) FILTER (WHERE e.account_id = payment.account_id
                              AND e.amount = -payment.amount AND e.currency = payment.currency),
           count(*) FILTER (WHERE a.owner_id IS NULL
                              AND e.amount = payment.amount AND e.currency = payment.currency)
      INTO legs, taken, given
      FROM payments_entry e JOIN payments_account a ON a.id = e.account_id
     WHERE e.payment_id = payment.id;
    IF payment.outcome IS NULL THEN
        RAISE EXCEPTION 'payment % is not decided', payment.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'payments_payment_decided';
    ELSIF payment.outcome = 'declined' AND legs > 0 THEN
        RAISE EXCEPTION 'payment % was declined but has entries', payment.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'payments_payment_declined_is_free';
    ELSIF payment.outcome = 'succeeded' AND (legs, taken, given) <> (2, 1, 1) THEN
        RAISE EXCEPTION 'entries of payment % do not move its amount and sum to zero', payment.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'payments_payment_sums_to_zero';
    END IF;
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER payments_account_balance
    AFTER INSERT OR UPDATE OF balance ON payments_account
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    EXECUTE FUNCTION payments_check_balance('id');
CREATE CONSTRAINT TRIGGER payments_entry_balance AFTER INSERT ON payments_entry
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    EXECUTE FUNCTION payments_check_balance('account_id');
CREATE CONSTRAINT TRIGGER payments_entry_sum AFTER INSERT ON payments_entry
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    EXECUTE FUNCTION payments_check_payment('payment_id');
CREATE CONSTRAINT TRIGGER payments_payment_sum AFTER INSERT ON payments_payment
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    EXECUTE FUNCTION payments_check_payment('id');
"""
BACKWARD = """
DROP TRIGGER payments_payment_sum ON payments_payment;
DROP TRIGGER payments_entry_sum ON payments_entry;
DROP TRIGGER payments_entry_balance ON payments_entry;
DROP TRIGGER payments_account_balance ON payments_account;
DROP TRIGGER payments_entry_account ON payments_entry;
DROP TRIGGER payments_account_terms ON payments_account;
DROP TRIGGER payments_account_opening ON payments_account;
DROP TRIGGER payments_payment_decided_once ON payments_payment;
DROP TRIGGER payments_account_kept ON payments_account;
DROP TRIGGER payments_payment_kept ON payments_payment;
DROP TRIGGER payments_entry_append_only ON payments_entry;
DROP FUNCTION payments_check_payment();
DROP FUNCTION payments_check_balance();
DROP FUNCTION payments_link_entry();
DROP FUNCTION payments_ledger_balance(bigint);
DROP FUNCTION payments_refuse();
"""


class Migration(migrations.Migration):
    dependencies = [("payments", "0001_initial")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
