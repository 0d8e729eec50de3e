from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import connection
from psycopg import sql

ALTER = sql.SQL("ALTER ROLE CURRENT_USER SET {} = {}")


class Command(BaseCommand):
    help = (
        "Has PostgreSQL set the timeouts for every new session of this database's user. Behind a "
        "pooler in transaction mode nothing else can. Safe to run again."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        timeouts = settings.STATEMENT_TIMEOUTS
        with connection.cursor() as cursor:
            for name, value in timeouts.items():
                cursor.execute(ALTER.format(sql.Identifier(name), sql.Literal(value)))
        self.stdout.write(", ".join(f"{name} {value}" for name, value in timeouts.items()))
