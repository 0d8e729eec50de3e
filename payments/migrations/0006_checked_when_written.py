"""An entry is checked once, when it is written: it is a leg of its payment, and its account has it.

Both were checked at commit, for each entry and once more for the payment and the account: that took
a third of its time. What is left for the commit is what an entry can't tell: a payment without its
entries, a balance that moved without one.
"""

from importlib import import_module

import django.db.models.deletion
from django.db import migrations, models

# In the order in which a payment locks them: requests go on until then, and wait for nothing else.
LOCK = "LOCK TABLE payments_payment, payments_account, payments_entry IN ACCESS EXCLUSIVE MODE;"
BEFORE = import_module("payments.migrations.0005_checked_by_one_query").FORWARD.replace(
    "DROP FUNCTION payments_ledger_balance(bigint);", ""
)
FORWARD = """
CREATE OR REPLACE FUNCTION payments_link_entry() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    last_id bigint;
    balance bigint;
    follows bigint;
    paid uuid;
    outcome text;
    is_leg boolean;
BEGIN
    -- A customer's entries are a chain in the order of their ids. (Settlement's are none: payments
    -- that commit side by side write them in any order.)
    SELECT last.id, account.balance,
           coalesce(last.balance_after, account.opening_balance) + NEW.amount,
           payment.id, payment.outcome,
           NEW.currency = payment.currency AND CASE
               WHEN account.owner_id IS NULL THEN NEW.amount = payment.amount
               ELSE NEW.amount = -payment.amount AND account.id = payment.account_id END
      INTO last_id, balance, follows, paid, outcome, is_leg
      FROM payments_account account
      LEFT JOIN payments_payment payment ON payment.id = NEW.payment_id
      LEFT JOIN LATERAL (
               SELECT id, balance_after FROM payments_entry WHERE account_id = account.id
                ORDER BY id DESC LIMIT 1) last ON account.owner_id IS NOT NULL
     WHERE account.id = NEW.account_id AND account.currency = NEW.currency;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no account % in %', NEW.account_id, NEW.currency
            USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'payments_entry_account';
    ELSIF paid IS NULL THEN
        RAISE EXCEPTION 'no payment %', NEW.payment_id
            USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'payments_entry_payment';
    ELSIF last_id >= NEW.id THEN
        RAISE EXCEPTION 'entry % would not be the last of account %', NEW.id, NEW.account_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'payments_entry_extends_chain';
    ELSIF outcome = 'declined' THEN
        RAISE EXCEPTION 'payment % was declined but has entries', paid
            USING ERRCODE = 'check_violation', CONSTRAINT = 'payments_payment_declined_is_free';
    ELSIF is_leg IS NOT TRUE THEN
        RAISE EXCEPTION 'entries of payment % do not move its amount and sum to zero', paid
            USING ERRCODE = 'check_violation', CONSTRAINT = 'payments_payment_sums_to_zero';
    ELSIF balance <> follows THEN  -- the balance moves first; settlement has none
        RAISE EXCEPTION 'balance of account % is not what its entries lead to', NEW.account_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'payments_account_balance';
    END IF;
    NEW.balance_after := follows;
    RETURN NEW;
END $$;
DROP TRIGGER payments_entry_balance ON payments_entry;
DROP TRIGGER payments_entry_sum ON payments_entry;

CREATE OR REPLACE FUNCTION payments_check_balance() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT balance IS DISTINCT FROM coalesce(
                   (SELECT balance_after FROM payments_entry WHERE account_id = account.id
                     ORDER BY id DESC LIMIT 1), opening_balance)
          FROM payments_account account WHERE id = NEW.id) THEN
        RAISE EXCEPTION 'balance of account % is not what its entries lead to', NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'payments_account_balance';
    END IF;
    RETURN NULL;
END $$;

-- Each entry is one of its payment's two legs, and UNIQUE admits each leg once: two are both.
CREATE OR REPLACE FUNCTION payments_check_payment() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    decided text;
    legs bigint;
BEGIN
    SELECT outcome, (SELECT count(*) FROM payments_entry WHERE payment_id = payment.id)
      INTO decided, legs FROM payments_payment payment WHERE id = NEW.id;
    IF decided IS NULL THEN
        RAISE EXCEPTION 'payment % is not decided', NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'payments_payment_decided';
    ELSIF decided = 'declined' AND legs > 0 THEN
        RAISE EXCEPTION 'payment % was declined but has entries', NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'payments_payment_declined_is_free';
    ELSIF decided = 'succeeded' AND legs <> 2 THEN
        RAISE EXCEPTION 'entries of payment % do not move its amount and sum to zero', NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'payments_payment_sums_to_zero';
    END IF;
    RETURN NULL;
END $$;

-- Not looked at where a payment moves the balance: PostgreSQL parses a WHEN in each statement anew.
DROP TRIGGER payments_account_terms ON payments_account;
CREATE TRIGGER payments_account_terms
    BEFORE UPDATE OF id, owner_id, currency, opening_balance ON payments_account FOR EACH ROW
    WHEN ((NEW.id, NEW.owner_id, NEW.currency, NEW.opening_balance)
          IS DISTINCT FROM (OLD.id, OLD.owner_id, OLD.currency, OLD.opening_balance))
    EXECUTE FUNCTION payments_refuse('payments_account_terms');
"""
BACKWARD = f"""
{LOCK}
{BEFORE}
CREATE CONSTRAINT TRIGGER payments_entry_balance AFTER INSERT ON payments_entry
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    EXECUTE FUNCTION payments_check_balance('account_id');
CREATE CONSTRAINT TRIGGER payments_entry_sum AFTER INSERT ON payments_entry
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    EXECUTE FUNCTION payments_check_payment('payment_id');
DROP TRIGGER payments_account_terms ON payments_account;
CREATE TRIGGER payments_account_terms BEFORE UPDATE ON payments_account FOR EACH ROW
    WHEN ((NEW.id, NEW.owner_id, NEW.currency, NEW.opening_balance)
          IS DISTINCT FROM (OLD.id, OLD.owner_id, OLD.currency, OLD.opening_balance))
    EXECUTE FUNCTION payments_refuse('payments_account_terms');
"""


class Migration(migrations.Migration):
    dependencies = [("payments", "0005_checked_by_one_query")]
    operations = [
        migrations.RunSQL(LOCK, migrations.RunSQL.noop),
        migrations.AlterField(
            "entry",
            "payment",
            models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="entries",
                to="payments.payment",
                verbose_name="payment",
            ),
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
