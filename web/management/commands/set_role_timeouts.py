from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import connection
from psycopg import sql

from web.arguments import number_up_to

ALTER = sql.SQL("ALTER ROLE CURRENT_USER SET {} = {}")


class Command(BaseCommand):
    help = (
        "Has PostgreSQL set the timeouts for every new session of this database's user. Behind a "
        "pooler in transaction mode nothing else can. Safe to run again."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        meaning = (
            "of statement_timeout. With synchronous replication under Patroni, longer than its "
            "ttl: where the timeout ends the wait of a COMMIT for its standby, the COMMIT is "
            "acknowledged, and a failover loses it"
        )
        parser.add_argument(
            "--statement-seconds", type=number_up_to(3_600), metavar="N", help=meaning
        )

    def handle(self, *args: Any, **options: Any) -> None:
        timeouts = dict(settings.STATEMENT_TIMEOUTS)
        if seconds := options["statement_seconds"]:
            timeouts["statement_timeout"] = f"{seconds}s"
        with connection.cursor() as cursor:
            for name, value in timeouts.items():
                cursor.execute(ALTER.format(sql.Identifier(name), sql.Literal(value)))
        self.stdout.write(", ".join(f"{name} {value}" for name, value in timeouts.items()))
