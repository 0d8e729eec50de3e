"""Measure how many bytes on disk a row takes, with its indexes: `python -m benchmarks.sizes`.

The rows are those of `benchmarks.history`, with a journal and an outbox beside them. Each is
written once, in its final state: what updates leave until vacuum comes is not counted.
"""

import argparse
import json
import subprocess
import sys
from typing import Any

import psycopg

from benchmarks import history, report, systems
from benchmarks.packages.servers import database, database_server
from demo.processes import ROOT, manage
from web.arguments import number_up_to

# The tables of a unit; its number is that of the first one's rows.
TABLES = {
    "order": ("orders_order", "orders_orderline"),
    "pay": ("payments_payment", "payments_entry", "orders_statuschange"),
    "key": ("idempotency_record",),
    "journal": ("idempotency_journal_journaledrequest",),
    "outbox": ("orders_paymentrequest",),
}
JOURNAL = """
INSERT INTO idempotency_journal_journaledrequest (
    id, received_at, outcome, scope, key_digest, subject, request_id, milliseconds,
    waited_milliseconds, steps)
SELECT md5(id::text)::uuid, created_at, 'replayed', 'user:' || customer_id,
       substr(md5(id::text), 1, 12), 'order:' || id, md5('request' || id), 1.5, 0, '[]'
  FROM orders_order
"""
OUTBOX = """
INSERT INTO orders_paymentrequest (order_id, body, request_id, key_digest, created_at, due_at,
                                   attempts, last_error, dead_lettered, calls, response, settled_at)
SELECT placed.id, convert_to(format(
           '{"order_id": "%s", "account_id": %s, "amount": 500, "currency": "EUR", '
           '"customer": "history17"}', placed.id, placed.account_id), 'UTF8'),
       md5('request' || placed.id), substr(md5(placed.id::text), 1, 12), paid.created_at,
       paid.created_at, 1, '', false,
       jsonb_build_array(jsonb_build_object('at', paid.created_at, 'call', 'charge',
                                            'outcome', paid.outcome, 'error', '')),
       jsonb_build_object('id', paid.id, 'order_id', placed.id, 'account_id', paid.account_id,
                          'amount', paid.amount, 'currency', 'EUR', 'outcome', paid.outcome,
                          'created_at', paid.created_at), paid.created_at
  FROM orders_order placed JOIN payments_payment paid ON paid.order_id = placed.id
"""
EXPIRE = "UPDATE idempotency_record SET retained_until = now() - interval '1 second'"


def main() -> None:
    """Print the bytes of an order, a pay, a key, its tombstone, a journaled and an outbox row."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    limit = number_up_to(10_000_000)
    parser.add_argument("--orders", type=limit, default=20_000, metavar="N", help="(%(default)s)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    server, connection = database_server()
    measured = sizes(server, orders=options.orders)
    if options.json:
        sys.stdout.write(json.dumps(report.machine(connection) | measured) + "\n")
        return
    sys.stdout.write("".join(f"{name:10} {each:8,.0f} bytes\n" for name, each in measured.items()))


def sizes(server: dict[str, Any], *, orders: int) -> dict[str, float]:
    """Return the bytes of each unit, in a database of its own.

    :param server: a Django connection's parameters
    """
    with database(server, f"{server['dbname']}_benchmark_sizes") as url:
        environment = systems.environment(url, port=0)
        assert manage("migrate", "--verbosity", "0", environment=environment) == 0
        with psycopg.connect(url, autocommit=True) as session:
            session.execute(systems.SETTLEMENT)
            session.execute(systems.PRODUCT, [systems.SKU, systems.PRICE])
            history.write(session, orders=orders, amount=systems.QUANTITY * systems.PRICE)
            _past_the_triggers(session, JOURNAL, OUTBOX)
            measured = {unit: _bytes_each(session, *tables) for unit, tables in TABLES.items()}
            _past_the_triggers(session, EXPIRE)
            purge = [sys.executable, "manage.py", "purge_idempotency_records"]
            subprocess.run(purge, cwd=ROOT, env=environment, stdout=sys.stderr, check=True)
            session.execute("VACUUM FULL idempotency_record")
            measured["tombstone"] = _bytes_each(session, *TABLES["key"])
    return measured


def _past_the_triggers(session: psycopg.Connection[Any], *statements: str) -> None:
    with session.transaction():
        session.execute("SET LOCAL session_replication_role = replica")
        for statement in statements:
            session.execute(statement.encode())


def _bytes_each(session: psycopg.Connection[Any], *tables: str) -> float:
    """Return the bytes of some tables, indexes included, by the number of the first one's rows."""
    query = "SELECT sum(pg_total_relation_size(name::regclass)) FROM unnest(%s::text[]) AS name"
    (total,) = session.execute(query, [list(tables)]).fetchone() or (0,)
    (rows,) = session.execute(f"SELECT count(*) FROM {tables[0]}".encode()).fetchone() or (0,)
    return float(total) / int(rows)


if __name__ == "__main__":
    main()
