"""System checks: settings, or a database, that would break the guarantee."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import connections
from psycopg import IsolationLevel

from idempotency.conf import conf
from idempotency.limits import outside

# (table, trigger): what migrations made, and any session of the owner could disable.
GUARDS = (
    ("idempotency_record", "idempotency_record_kept"),
    ("idempotency_horizon", "idempotency_horizon_kept"),
)
# A table that is not there yet needs no guard: Django checks a database before it migrates it.
ENABLED = """
SELECT to_regclass(%(table)s) IS NULL OR EXISTS (
    SELECT FROM pg_trigger
     WHERE tgrelid = to_regclass(%(table)s) AND tgname = %(trigger)s AND tgenabled IN ('O', 'A'))
"""


@register("idempotency")
def check_databases(**_: Any) -> list[CheckMessage]:
    """Check how the databases are configured; asks none of them."""
    found: list[CheckMessage] = []
    for alias, database in settings.DATABASES.items():
        if connections[alias].vendor != "postgresql":
            if alias == "default":
                found.append(
                    Error(
                        "The database 'default' is not PostgreSQL.",
                        hint="The guarantee rests on PostgreSQL's advisory locks and triggers.",
                        id="idempotency.E001",
                    )
                )
            continue
        if database.get("ATOMIC_REQUESTS"):
            found.append(
                Error(
                    f"ATOMIC_REQUESTS is on for the database {alias!r}.",
                    hint="Turn it off: the boundary's transaction has to be the outermost one.",
                    id="idempotency.E002",
                )
            )
        level = (database.get("OPTIONS") or {}).get("isolation_level")
        if level is not None and IsolationLevel(level) > IsolationLevel.READ_COMMITTED:
            found.append(
                Error(
                    f"The database {alias!r} has an isolation level above READ COMMITTED.",
                    hint="A duplicate has to see what the first has just committed.",
                    id="idempotency.E003",
                )
            )
        if conf().POOLER and (features := _of_a_session(database)):
            found.append(
                Error(
                    f"The database {alias!r} uses {', '.join(features)} behind a pooler.",
                    hint="They belong to a session, which a pooler in transaction mode changes.",
                    id="idempotency.E006",
                )
            )
    return found


def _of_a_session(database: dict[str, Any]) -> list[str]:
    """Return the names of a database's settings that need one session for many transactions."""
    options = database.get("OPTIONS") or {}
    features = [name for name in ("options", "prepare_threshold") if options.get(name)]
    if not database.get("DISABLE_SERVER_SIDE_CURSORS"):
        features.append("server-side cursors (DISABLE_SERVER_SIDE_CURSORS)")
    return features


@register("idempotency")
def check_settings(**_: Any) -> list[CheckMessage]:
    """Check the settings by themselves, and against each other."""
    chosen = conf()
    found: list[CheckMessage] = [
        Error(sentence, hint="Nothing starts with it.", id="idempotency.E004")
        for sentence in outside(chosen)
    ]
    horizon = chosen.RETRY_HORIZON
    if not found and horizon is not None and horizon > chosen.RETENTION:
        found.append(
            Error(
                "IDEMPOTENCY['RETENTION'] is shorter than RETRY_HORIZON.",
                hint="A late retry would be refused instead of getting the first response.",
                id="idempotency.E007",
            )
        )
    threads = getattr(settings, "WEB_THREADS", None)
    if threads and threads <= chosen.WAITING_THREADS_MAX:
        found.append(
            Warning(
                "Every thread of the web server may wait for a request in flight.",
                hint="Set IDEMPOTENCY['WAITING_THREADS_MAX'] below WEB_THREADS.",
                id="idempotency.W001",
            )
        )
    if any(name.lower() == "set-cookie" for name in chosen.STORED_HEADERS):
        found.append(
            Warning(
                "IDEMPOTENCY['STORED_HEADERS'] names Set-Cookie, which is never stored.",
                id="idempotency.W002",
            )
        )
    return found


@register(Tags.database)
def check_guards(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Check that the guard triggers are in the database, and enabled."""
    found: list[CheckMessage] = []
    for alias in databases or ():
        if connections[alias].vendor != "postgresql":
            continue
        with connections[alias].cursor() as cursor:
            for table, trigger in GUARDS:
                cursor.execute(ENABLED, {"table": table, "trigger": trigger})
                if not cursor.fetchone()[0]:
                    found.append(
                        Error(
                            f"The trigger {trigger} on {table} is missing or disabled.",
                            hint="Migrate, or ALTER TABLE … ENABLE TRIGGER.",
                            id="idempotency.E005",
                        )
                    )
    return found
