"""The lab's second database: made for a run whose mechanism commits in two, and dropped after it.

A prepared transaction belongs to no session: it outlives the process that prepared it, and holds
its locks. So a run first rolls back its own, and those of runs that were killed.
"""

import contextlib
from uuid import uuid4

import psycopg
from django.db import connection, connections
from psycopg.sql import SQL, Identifier, Literal

ORDERS = "orders"  # its alias in the lab's servers
PREPARED_MIN = 4  # what two crashes leave
OBTAINABLE = """
SELECT current_setting('max_prepared_transactions')::int >= %s AND (rolcreatedb OR rolsuper)
  FROM pg_roles WHERE rolname = current_user"""

# Of a run that ends, and of killed ones: a live run has a session whose name is its prefix.
PREPARED = """
SELECT gid, database FROM pg_prepared_xacts
 WHERE owner = current_user AND gid ~ '^lab_[0-9a-f]{8}_' AND (starts_with(gid, %(ended)s)
       OR NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = substr(gid, 1, 12)))"""
DATABASES = """
SELECT datname FROM pg_database
 WHERE pg_get_userbyid(datdba) = current_user AND datname ~ '^lab_[0-9a-f]{8}_orders$'
   AND (starts_with(datname, %(ended)s) OR NOT EXISTS (
       SELECT FROM pg_stat_activity WHERE application_name = substr(pg_database.datname, 1, 12)))"""


def is_obtainable() -> bool:
    """Return True if the server prepares transactions and we may create a database."""
    with connection.cursor() as cursor:
        cursor.execute(OBTAINABLE, [PREPARED_MIN])
        return bool(cursor.fetchone()[0])


def name_of(prefix: str) -> str:
    """Return the name of a run's second database."""
    return f"{prefix}_orders"


def create(prefix: str, schema: str) -> None:
    """Create a run's second database with its tables."""
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name_of(prefix)} TEMPLATE template0")
    with session(name_of(prefix)) as second:
        second.execute(schema)


def session(database: str, *, name: str = "") -> "psycopg.Connection[tuple[object, ...]]":
    """Connect to a database of the same server.

    :param name: of the session, as others see it
    """
    parameters = connection.get_connection_params() | {"dbname": database}
    return psycopg.connect(**parameters | {"application_name": name}, autocommit=True)


def connect(prefix: str) -> None:
    """Make the second database known to this process, under its alias."""
    connections.settings[ORDERS] = connections.settings["default"] | {"NAME": name_of(prefix)}


def new_gid(order: str) -> str:
    """Return a new name for a distributed transaction: it begins with its run and its order."""
    return f"{gid_prefix(order)}{uuid4().hex[:8]}"


def gid_prefix(order: str) -> str:
    """Return what the names of an order's distributed transactions begin with."""
    return f"{connection.settings_dict['OPTIONS']['application_name']}_{order}_"


def clean_up(ended: str | None) -> None:
    """Roll back and drop what is left of killed runs, and of one that ends here.

    :param ended: the prefix of the run that ends
    """
    with connection.cursor() as cursor:
        cursor.execute(PREPARED, {"ended": ended})
        for gid, database in cursor.fetchall():
            # Another run may be faster.
            with contextlib.suppress(psycopg.Error), session(database) as there:
                there.execute(SQL("ROLLBACK PREPARED {}").format(Literal(gid)))
        cursor.execute(DATABASES, {"ended": ended})
        for (name,) in cursor.fetchall():
            drop = SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(name))
            cursor.execute(drop)
