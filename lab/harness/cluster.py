"""The cluster of a run: the tables of all mechanisms, and two processes that serve them."""

import multiprocessing
import secrets
import signal
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from typing import Any, Self

import urllib3
from django.db import connection, transaction

from lab import mechanisms
from lab.harness import bank, second_database
from lab.harness.scheduler import LabError
from lab.harness.server import ClusterSettings, serve
from lab.mechanisms import NEED_SECOND_DATABASE

# Schemas of killed runs: a live run has sessions that are named as its schemas begin.
ORPHANED_SCHEMAS = r"""
SELECT nspname FROM pg_namespace WHERE nspname ~ '^lab_[0-9a-f]{8}_' AND NOT EXISTS (
    SELECT FROM pg_stat_activity WHERE application_name = substring(nspname FOR 12))"""

# Sessions of killed servers: one that waits for a lock notices late that its process has gone, and
# its own locks keep the tables from being dropped.
END_SESSIONS = """
SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
 WHERE application_name = %s AND pid <> pg_backend_pid()"""

SERVERS = 2
START_SECONDS_MAX = 60
END_SECONDS_MAX = 10

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["lab.harness.server"])


def _start_forkserver() -> None:
    """Start the process that forks the servers; it ignores the Ctrl-C that is for this one."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, before)


class LabServer:
    """A server process that can be killed; it ends with the process that started it."""

    def __init__(self, settings: ClusterSettings) -> None:
        _start_forkserver()
        self._pipe, theirs = _processes.Pipe()
        self.process: BaseProcess = _processes.Process(
            target=serve, args=(theirs, settings), daemon=True
        )
        self.process.start()
        theirs.close()
        if not self._pipe.poll(START_SECONDS_MAX):
            raise LabError("a server process did not start")
        self.url = f"http://127.0.0.1:{self._pipe.recv()}"

    def was_killed(self) -> bool:
        self.process.join(END_SECONDS_MAX)
        return self.process.exitcode == -signal.SIGKILL

    def close(self) -> None:
        self._pipe.close()
        self.process.kill()
        self.process.join(END_SECONDS_MAX)


class LabCluster:
    """The tables of a run's mechanisms, the servers, and the customers' threads and connections."""

    def __init__(self, mechanisms: Collection[str], redis_url: str | None, *, clicks: int) -> None:
        self.mechanisms = mechanisms
        self.threads = ThreadPoolExecutor(clicks)
        self.http = urllib3.PoolManager(maxsize=clicks)
        prefix = f"lab_{secrets.token_hex(4)}"
        database = str(connection.settings_dict["NAME"])
        self.settings = ClusterSettings(database, prefix, redis_url)
        self.servers: list[LabServer] = []

    def __enter__(self) -> Self:
        settings = self.settings
        self._sign_of_life = second_database.session(settings.database, name=settings.prefix)
        self._sign_of_life.execute("SET idle_session_timeout = 0")
        try:
            self._build()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _build(self) -> None:
        with connection.cursor() as cursor:
            second_database.clean_up(ended=None)  # first: what is prepared locks tables
            cursor.execute(ORPHANED_SCHEMAS)
            self._drop(name for (name,) in cursor.fetchall())
        for name in self.mechanisms:
            mechanism = mechanisms.load(name)
            with self.tables_of(name, new=True) as cursor:
                cursor.execute(f"{bank.SCHEMA}; {getattr(mechanism, 'SCHEMA', '')}")
        for name in NEED_SECOND_DATABASE.intersection(self.mechanisms):
            second_database.create(self.settings.prefix, mechanisms.load(name).ORDERS_SCHEMA)
        for _ in range(SERVERS):
            self.servers.append(LabServer(self.settings))

    def __exit__(self, *_: object) -> None:
        for server in self.servers:
            server.close()
        self.threads.shutdown()
        self._sign_of_life.execute(END_SESSIONS, [self.settings.prefix])
        second_database.clean_up(ended=self.settings.prefix)
        self._drop(map(self.settings.schema, self.mechanisms))
        self._sign_of_life.close()

    def _drop(self, schemas: Iterable[str]) -> None:
        with connection.cursor() as cursor:
            for schema in schemas:
                cursor.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")

    @contextmanager
    def tables_of(self, mechanism: str, *, new: bool = False) -> Iterator[Any]:
        """Yield a cursor that sees a mechanism's tables."""
        schema = self.settings.schema(mechanism)
        with transaction.atomic(), connection.cursor() as cursor:
            if new:
                cursor.execute(f"CREATE SCHEMA {schema}")
            cursor.execute("SELECT set_config('search_path', %s, true)", [f"{schema}, public"])
            yield cursor

    def replace_killed(self, number: int) -> None:
        """Check that a server was killed, and start another in its place."""
        if not self.servers[number].was_killed():
            raise LabError("the server was scheduled to be killed, and lives")
        self.servers[number].close()
        self.servers[number] = LabServer(self.settings)
