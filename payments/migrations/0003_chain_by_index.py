"""Each entry costs the same, however many there are: the chain is read by its end.

`EXISTS (… WHERE account_id = … AND id >= …)` expects to find a row soon: a cached plan of it may
read the whole table, where a few accounts have most of the entries. And a function in SQL is
planned anew by each statement that calls it; one in PL/pgSQL keeps its plan.
"""

from django.db import migrations

LEDGER = """
    coalesce((SELECT balance_after FROM payments_entry WHERE account_id = account
               ORDER BY id DESC LIMIT 1),
             (SELECT opening_balance FROM payments_account WHERE id = account))
"""
LINK = """
CREATE OR REPLACE FUNCTION payments_link_entry() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM payments_account
                    WHERE id = NEW.account_id AND currency = NEW.currency) THEN
        RAISE EXCEPTION 'no account %% in %%', NEW.account_id, NEW.currency
            USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'payments_entry_account';
    END IF;
    -- A customer's entries are a chain in the order of their ids. (Settlement's are none: payments
    -- that commit side by side write them in any order.)
    IF EXISTS (SELECT FROM payments_account WHERE id = NEW.account_id AND owner_id IS NOT NULL)
       AND %s THEN
        RAISE EXCEPTION 'entry %% would not be the last of account %%', NEW.id, NEW.account_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'payments_entry_extends_chain';
    END IF;
    NEW.balance_after := payments_ledger_balance(NEW.account_id) + NEW.amount;
    RETURN NEW;
END $$;
"""
BY_LAST = "(SELECT max(id) FROM payments_entry WHERE account_id = NEW.account_id) >= NEW.id"
BY_ANY = """EXISTS (SELECT FROM payments_entry
                    WHERE account_id = NEW.account_id AND id >= NEW.id)"""


def _ledger(language: str, body: str) -> str:
    return (
        "CREATE OR REPLACE FUNCTION payments_ledger_balance(account bigint) RETURNS bigint "
        f"LANGUAGE {language} AS $$ {body} $$;"
    )


class Migration(migrations.Migration):
    dependencies = [("payments", "0002_guards")]
    operations = [
        migrations.RunSQL(
            LINK % BY_LAST + _ledger("plpgsql", f"BEGIN RETURN {LEDGER}; END"),
            LINK % BY_ANY + _ledger("sql", f"SELECT {LEDGER}"),
        )
    ]
