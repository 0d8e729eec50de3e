"""A system on a PostgreSQL under Patroni: brought up, made whole, and asked how it is."""

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from typing import Any

import psycopg

from demo.cluster import network
from demo.cluster.hosts import SHOP, Hosts
from demo.cluster.network import address
from demo.cluster.servers import UP_SECONDS_MAX, Servers, get, until
from demo.processes import ROOT

RETURN_SECONDS_MAX = 180
WHOLE_SECONDS = 10  # longer than Patroni takes to see a change and to act on it

FOLLOWING = """
SELECT count(*), count(*) FILTER (WHERE sync_state = 'sync') FROM pg_stat_replication
 WHERE state = 'streaming' AND application_name = ANY(%s)
"""
FILL = "CREATE TEMPORARY TABLE filler AS SELECT gen_random_uuid() FROM generate_series(1, 20000)"


class Cluster(Servers):
    """Three databases, two web servers with their proxies, a proxy before them, and the relays."""

    def __init__(self, hosts: Hosts = SHOP, settings: Mapping[str, str] | None = None) -> None:
        super().__init__(hosts, settings or {})
        self.synchronous = True

    # --- Up

    def start(self) -> None:
        """Start everything, with the application's tables and the demo's data in it."""
        first, *others = self.hosts.databases
        for host in self.hosts.databases:
            self.start_etcd(host)
        self.start_patroni(first)  # the others copy it
        until(self.primary, seconds=UP_SECONDS_MAX, what="a primary")
        for host in others:
            self.start_patroni(host)
        self._create_database()
        for host in self.hosts.webs:
            self.start_proxies(host)
        self._set_up()
        for host in self.hosts.webs:
            self.start_web(host)
        self.start_front()
        for host in self.hosts.relays:
            self.start_relay(host)
        wait_until_whole(self)
        ready = f"{self.url}/readyz"
        until(lambda: get(ready) is not None, seconds=UP_SECONDS_MAX, what=f"{ready} responds")

    # --- How it is

    def members(self) -> list[dict[str, Any]]:
        """Return the databases as Patroni sees them; none where no Patroni responds."""
        for host in self.hosts.databases:
            if (document := get(f"http://{address(host)}:8008/cluster")) is not None:
                members: list[dict[str, Any]] = json.loads(document)["members"]
                return members
        return []

    def primary(self) -> str | None:
        """Return which database says that it is the primary, and is reached; None: none does."""
        for host in self.hosts.databases:
            if get(f"http://{address(host)}:8008/primary") is not None:
                return host
        return None

    def synchronous_standbys(self) -> list[str]:
        """Return the databases that a COMMIT waits for."""
        return [each["name"] for each in self.members() if each["role"] == "sync_standby"]

    def has_quorum(self) -> bool:
        """Return True if etcd can decide."""
        databases = self.hosts.databases
        health = (get(f"http://{address(host)}:2379/health") for host in databases)
        return any(each is not None and json.loads(each)["health"] == "true" for each in health)

    def is_whole(self) -> bool:
        """Return True if all standbys follow the primary, one of them as a COMMIT demands."""
        primary, databases = self.primary(), self.hosts.databases
        if primary is None:
            return False
        try:
            with self.connect(primary) as session:
                counts = session.execute(FOLLOWING, [list(databases)]).fetchone()
        except psycopg.Error:
            return False
        following, synchronous = counts or (0, 0)
        return following == len(databases) - 1 and synchronous == self.synchronous

    def connect(self, host: str, *, database: str = "postgres") -> psycopg.Connection[Any]:
        """Connect to one of the databases, past all proxies, as the superuser."""
        return psycopg.connect(
            host=address(host),
            user="postgres",
            password=self.values["superuser_password"],
            dbname=database,
            connect_timeout=3,
            autocommit=True,
        )

    def read(self, query: str, **values: Any) -> list[Any]:
        """Return the rows of a query, from the application's database on the primary."""
        with self.connect(self.primary() or "", database=self.hosts.name) as session:
            return session.execute(query, values).fetchall()

    def count(self, query: str, **values: Any) -> int:
        """Return the one number of a query as above."""
        [[number]] = self.read(query, **values)
        return int(number)

    def lacks_space(self, host: str) -> bool:
        """Return True if a database refuses to write, for its disk is full."""
        try:
            with self.connect(host) as session:
                session.execute(FILL)
        except psycopg.errors.DiskFull:
            return True
        except psycopg.Error:
            pass
        return False

    # --- Changed

    def replicate(self, *, synchronously: bool) -> None:
        """Have a COMMIT wait for a standby from now on, or not."""
        change = json.dumps({"synchronous_mode": synchronously}).encode()
        request = urllib.request.Request(
            f"http://{address(self.primary() or '')}:8008/config", data=change, method="PATCH"
        )
        with urllib.request.urlopen(request, timeout=5):  # noqa: S310 - our own address
            self.synchronous = synchronously
        wait_until_whole(self)

    def migrate(self, *target: str) -> None:
        """Bring the schema to its newest state, or to an app's migration.

        :raises RuntimeError: it failed
        """
        self.manage_surely("migrate", "--verbosity", "0", *target)

    def manage(
        self, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of manage.py on a web host, past the pooler.

        :param environment: what it gets beside the settings
        """
        host = self.hosts.webs[0]
        return subprocess.run(
            network.command_on(host, sys.executable, "manage.py", *arguments),
            cwd=ROOT,
            env=self.environment(host, pooled=False) | dict(environment or {}),
            capture_output=True,
            text=True,
            check=False,
        )

    def manage_surely(self, *command: str) -> str:
        """Run a command of manage.py as above and return its output.

        :raises RuntimeError: it failed
        """
        done = self.manage(*command)
        if done.returncode:
            raise RuntimeError(f"manage.py {command[0]}: {done.stdout}{done.stderr}")
        return done.stdout

    # --- Parts

    def _create_database(self) -> None:
        with self.connect(self.primary() or "") as session:
            name, password = (
                psycopg.sql.Identifier(self.hosts.name),
                psycopg.sql.Literal(self.password),
            )
            session.execute(
                psycopg.sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(name, password)
            )
            session.execute(psycopg.sql.SQL("CREATE DATABASE {0} OWNER {0}").format(name))

    def _set_up(self) -> None:
        self.migrate()
        for command in ("seed_demo", "set_role_timeouts"):
            self.manage_surely(command)


def wait_until_whole(*clusters: Cluster) -> None:
    """Return once all standbys have followed their primaries for a while without a break."""
    deadline = time.monotonic() + RETURN_SECONDS_MAX
    since = None
    while since is None or time.monotonic() < since + WHOLE_SECONDS:
        if time.monotonic() > deadline:
            raise TimeoutError(f"Not within {RETURN_SECONDS_MAX} s: databases that all run.")
        whole = all(each.is_whole() for each in clusters)
        since = (since or time.monotonic()) if whole else None
        time.sleep(0.5)
