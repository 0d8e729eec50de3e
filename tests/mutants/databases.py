"""The databases of a run: a migrated one for each suite, and a clone for each mutant."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier, Literal

from tests.mutants import in_database
from tests.mutants.mutant import DatabaseMutant
from tests.mutants.suites import Suite
from tests.mutants.trees import ROOT

HOME = "EMBEDDED_POSTGRES_HOME"
PREFIX = "mutants"


class Server:
    """The server of the tests, held open as long as the run lasts."""

    def __init__(self) -> None:
        """Start the embedded server that the tests use, or use the one of DATABASE_URL."""
        home = os.environ.get(HOME) or str(ROOT / "var" / "postgres")
        os.environ[HOME] = f"{home.removesuffix('-tests')}-tests"
        os.environ["DJANGO_SETTINGS_MODULE"] = "tests.support.settings"
        import django

        django.setup()
        from django.db import connection

        self._parameters = connection.get_connection_params()
        self.drop_all()

    def connect(self, name: str) -> psycopg.Connection[Any]:
        """Return a session with a database; each statement is a transaction of its own."""
        names = ("host", "port", "user", "password")
        parameters = {key: self._parameters.get(key) for key in names}
        return psycopg.connect(**parameters, dbname=name, autocommit=True)  # type: ignore[arg-type]

    def drop_all(self) -> None:
        """Drop the databases of a run, or of one that was killed."""
        of_a_run = "SELECT datname FROM pg_database WHERE starts_with(datname, %s || '_')"
        with self.connect("postgres") as session:
            names = session.execute(of_a_run, [PREFIX]).fetchall()
        for (name,) in names:
            self.drop(name)

    def drop(self, name: str) -> None:
        """Drop a database, whoever uses it."""
        with suppress(psycopg.Error), self.connect("postgres") as session:
            statement = SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
            session.execute(statement.format(Identifier(name)))

    @contextmanager
    def mutated(self, suite: Suite, mutant: DatabaseMutant, worker: int) -> Iterator[str]:
        """Return the name of a clone of a suite's database without a guard, then drop it.

        :raises NotApplied: the guard is still there, or more than it is gone
        """
        name = f"{PREFIX}_{suite.name}_{worker}"
        self.drop(name)
        with self.connect("postgres") as session:
            statement = SQL("CREATE DATABASE {} TEMPLATE {}")
            session.execute(statement.format(Identifier(name), Identifier(suite.template)))
        with self.connect(name) as session:
            in_database.apply(session, mutant)
            comment = SQL("COMMENT ON SCHEMA public IS {}").format(Literal(mutant.name))
            session.execute(comment)
        try:
            yield name
        finally:
            self.drop(name)
