"""The engine "web.database": Django's own, with the deadline of this process, if it has one."""

from types import ModuleType
from typing import Any

import psycopg
from django.db.backends.postgresql import base, operations
from psycopg.pq import TransactionStatus

from web.database.deadlines import Breaker, Connection, responding_within, response_seconds

CONNECT_SECONDS = 2.0  # where the settings have no `connect_timeout`

# psycopg, as Django knows it, but for the class of its connections.
driver = ModuleType("psycopg")
vars(driver).update(vars(psycopg), connect=Connection.connect)


class DatabaseOperations(operations.DatabaseOperations):
    """Django's own, but for a statement that is logged (DEBUG) after its session is lost."""

    def last_executed_query(self, cursor: Any, sql: Any, params: Any) -> Any:
        """Return a statement with its values, for which Django asks the session, if there is one.

        Without this, the session's end would hide the error that ended it.
        """
        session = self.connection.connection
        if session is None or session.closed:
            return str(sql)
        return super().last_executed_query(cursor, sql, params)


class DatabaseWrapper(base.DatabaseWrapper):
    """A PostgreSQL connection that no thread waits for longer than this process's deadline."""

    Database = driver
    ops_class = DatabaseOperations
    _breakers: dict[str, Breaker] = {}  # on the class: of all threads, by alias

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Connect; at once fail where the server was silent a moment ago."""
        seconds = response_seconds()
        if seconds is None:
            return super().get_new_connection(conn_params)
        with self._breaker.attempt(seconds=self._connect_seconds()):
            session = super().get_new_connection(conn_params)
        session.response_seconds, session.breaker = seconds, self._breaker
        return session

    def is_usable(self) -> bool:
        """Return True if nothing speaks against the session; costs no round trip, as a rule.

        What has ended shows on its socket. A silent server shows by the next statement, which gets
        no longer than an attempt to connect; where it was silent a moment ago, it is asked.
        """
        session, seconds = self.connection, self._connect_seconds()
        if response_seconds() is None:
            return super().is_usable()
        if session is None or session.closed or session.has_ended():
            return False
        if session.info.transaction_status == TransactionStatus.INERROR:
            return False
        if not self._breaker.is_tripped:
            session.next_response_seconds = seconds
            return True
        try:
            with self._breaker.attempt(seconds=seconds), responding_within(session, seconds):
                session.execute("SELECT 1")
        except psycopg.Error:
            return False
        return True

    @property
    def _breaker(self) -> Breaker:
        return self._breakers.setdefault(self.alias, Breaker())

    def _connect_seconds(self) -> float:
        return float(self.settings_dict["OPTIONS"].get("connect_timeout") or CONNECT_SECONDS)
