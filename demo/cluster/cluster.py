"""The servers of the cluster: started, ended and asked how they are."""

import json
import os
import pwd
import secrets
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from string import Template
from typing import Any

import psycopg

from demo.cluster import network, places
from demo.cluster.network import DATABASES, FRONT, NETWORK, WEBS, address
from demo.processes import ROOT

DATABASE = "shop"
PORT = 8000  # of the web servers
UP_SECONDS_MAX = 120
RETURN_SECONDS_MAX = 180
WHOLE_SECONDS = 10  # longer than Patroni takes to see a change and to act on it

FOLLOWING = """
SELECT count(*), count(*) FILTER (WHERE sync_state = 'sync') FROM pg_stat_replication
 WHERE state = 'streaming' AND application_name LIKE 'db%'
"""
FILL = "CREATE TEMPORARY TABLE filler AS SELECT gen_random_uuid() FROM generate_series(1, 20000)"


def until(condition: Callable[[], Any], *, seconds: float, what: str) -> Any:
    """Wait for a condition to become true and return its value.

    :raises TimeoutError: it did not within so many seconds
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.2)
    raise TimeoutError(f"Not within {seconds:g} s: {what}.")


class Cluster:
    """Three databases, two web servers with their proxies, and a proxy before them."""

    def __init__(self) -> None:
        self.synchronous = True
        self.account = places.account()
        self.password, self.demo_password = secrets.token_hex(16), secrets.token_hex(16)
        self.values = {
            "scope": DATABASE,
            "database": DATABASE,
            "network": NETWORK,
            "binaries": str(places.binaries()),
            "synchronous": "true",
            "superuser_password": secrets.token_hex(16),
            "replication_password": secrets.token_hex(16),
            "etcd_peers": ",".join(f"{each}=http://{address(each)}:2380" for each in DATABASES),
            "etcd_clients": ",".join(f"{address(each)}:2379" for each in DATABASES),
            "user": pwd.getpwuid(self.account.options["user"]).pw_name,
        }
        self.secret_key = secrets.token_hex(32)

    # --- Up

    def start(self) -> None:
        """Start everything, with the application's tables and the demo's data in it."""
        for host in DATABASES:
            self.start_etcd(host)
        self.start_patroni(DATABASES[0])  # the others copy it
        until(self.primary, seconds=UP_SECONDS_MAX, what="a primary")
        for host in DATABASES[1:]:
            self.start_patroni(host)
        self._create_database()
        for host in WEBS:
            self.start_proxies(host)
        self._set_up()
        for host in WEBS:
            self.start_web(host)
        self.start_front()
        self.wait_until_whole()
        ready = f"{self.url}/readyz"
        until(lambda: _get(ready) is not None, seconds=UP_SECONDS_MAX, what=f"{ready} responds")

    def wait_until_whole(self) -> None:
        """Return once two standbys have followed the primary for a while without a break."""
        deadline = time.monotonic() + RETURN_SECONDS_MAX
        since = None
        while since is None or time.monotonic() < since + WHOLE_SECONDS:
            if time.monotonic() > deadline:
                raise TimeoutError(f"Not within {RETURN_SECONDS_MAX} s: three databases that run.")
            since = (since or time.monotonic()) if self._is_whole() else None
            time.sleep(0.5)

    def start_etcd(self, host: str) -> None:
        self._start(host, "etcd", "--config-file", self._configured(host, "etcd.yml"))

    def start_patroni(self, host: str) -> None:
        self._start(host, places.PATRONI / "patroni", self._configured(host, "patroni.yml"))

    def start_proxies(self, host: str) -> None:
        """Start what leads a web server to the primary."""
        servers = _servers(DATABASES, 5432)
        configured = self._configured(host, "haproxy-database.cfg", servers=servers)
        self._start(host, "haproxy", "-f", configured, as_root=True)
        users = places.RUN / host / "users.txt"
        users.write_text(f'"{DATABASE}" "{self.password}"\n')
        self.account.hand_over(users)
        self._start(host, "pgbouncer", self._configured(host, "pgbouncer.ini"), as_root=True)

    def start_web(self, host: str) -> None:
        """Start a web server as it is deployed, and return once it is ready."""
        python = (sys.executable, "-m", "gunicorn", "--config", "config/gunicorn.py")
        self._start(host, *python, environment=self._environment(host, pooled=True), as_root=True)
        ready = f"http://{address(host)}:{PORT}/readyz"
        until(lambda: _get(ready) is not None, seconds=UP_SECONDS_MAX, what=f"{ready} responds")

    def stop_web(self, host: str) -> None:
        """Have a web server finish its requests and end."""
        server = ("gunicorn",)
        assert network.signal_all(host, signal.SIGTERM, programs=server), f"none runs on {host}"
        until(
            lambda: not network.signal_all(host, 0, programs=server),
            seconds=60,
            what=f"the web server of {host} ends",
        )

    def start_front(self) -> None:
        configured = self._configured(FRONT, "haproxy-front.cfg", servers=_servers(WEBS, PORT))
        self._start(FRONT, "haproxy", "-f", configured, as_root=True)

    # --- How it is

    @property
    def url(self) -> str:
        return f"http://{address(FRONT)}"

    def members(self) -> list[dict[str, Any]]:
        """Return the databases as Patroni sees them; none where no Patroni responds."""
        for host in DATABASES:
            if (document := _get(f"http://{address(host)}:8008/cluster")) is not None:
                members: list[dict[str, Any]] = json.loads(document)["members"]
                return members
        return []

    def primary(self) -> str | None:
        """Return which database says that it is the primary, and is reached; None: none does."""
        for host in DATABASES:
            if _get(f"http://{address(host)}:8008/primary") is not None:
                return host
        return None

    def synchronous_standbys(self) -> list[str]:
        """Return the databases that a COMMIT waits for."""
        return [each["name"] for each in self.members() if each["role"] == "sync_standby"]

    def has_quorum(self) -> bool:
        """Return True if etcd can decide."""
        health = (_get(f"http://{address(host)}:2379/health") for host in DATABASES)
        return any(each is not None and json.loads(each)["health"] == "true" for each in health)

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

    def replicate(self, *, synchronously: bool) -> None:
        """Have a COMMIT wait for a standby from now on, or not."""
        change = json.dumps({"synchronous_mode": synchronously}).encode()
        request = urllib.request.Request(
            f"http://{address(self.primary() or '')}:8008/config", data=change, method="PATCH"
        )
        with urllib.request.urlopen(request, timeout=5):  # noqa: S310 - our own address
            self.synchronous = synchronously
        self.wait_until_whole()

    def migrate(self, *target: str) -> None:
        """Bring the schema to its newest state, or to an app's migration."""
        self._manage("migrate", "--verbosity", "0", *target)

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of manage.py on a web host, past the pooler."""
        command = network.command_on(WEBS[0], sys.executable, "manage.py", *arguments)
        environment = self._environment(WEBS[0], pooled=False)
        return subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )

    # --- Faults

    def kill(self, host: str, *programs: str) -> None:
        """Kill programs of a host; one of them has to run."""
        number = network.signal_all(host, signal.SIGKILL, programs=programs)
        assert number, f"nothing of {programs} runs on {host}"

    # --- Parts

    def _is_whole(self) -> bool:
        primary = self.primary()
        if primary is None:
            return False
        try:
            with self.connect(primary) as session:
                following, synchronous = session.execute(FOLLOWING).fetchone() or (0, 0)
        except psycopg.Error:
            return False
        return following == len(DATABASES) - 1 and synchronous == self.synchronous

    def _create_database(self) -> None:
        with self.connect(self.primary() or "") as session:
            name, password = psycopg.sql.Identifier(DATABASE), psycopg.sql.Literal(self.password)
            session.execute(
                psycopg.sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(name, password)
            )
            session.execute(psycopg.sql.SQL("CREATE DATABASE {0} OWNER {0}").format(name))

    def _set_up(self) -> None:
        self.migrate()
        for command in ("seed_demo", "set_role_timeouts"):
            self._manage(command)

    def _manage(self, *command: str) -> None:
        done = self.manage(*command)
        if done.returncode:
            raise RuntimeError(f"manage.py {command[0]}: {done.stdout}{done.stderr}")

    def _environment(self, host: str, *, pooled: bool) -> dict[str, str]:
        port = 6432 if pooled else 5000
        login = f"{DATABASE}:{self.password}"
        return os.environ | {
            "DATABASE_URL": f"postgres://{login}@127.0.0.1:{port}/{DATABASE}",
            "DATABASE_POOLER": str(pooled).lower(),
            "DEBUG": "false",
            "SECRET_KEY": self.secret_key,
            "ALLOWED_HOSTS": "*",
            "HTTPS": "false",
            "DEMO_PASSWORD": self.demo_password,
            "HOST": address(host),
            "PORT": str(PORT),
            "TRUSTED_PROXIES": address(FRONT),
            "WRITES_PER_MINUTE": "1000000",
            "CHARGES_PER_MINUTE": "1000000",
            "LOG_LEVEL": "WARNING",
            "ROLE": "both",
            "PAYMENTS_URL": "",
        }

    def _configured(self, host: str, template: str, **more: str) -> Path:
        """Fill in a template for a host; return the file."""
        folder = places.RUN / host
        own = {"host": host, "address": address(host), "folder": str(folder)}
        text = Template((places.TEMPLATES / template).read_text())
        path = folder / template
        path.write_text(text.substitute(self.values | own | more))
        path.chmod(0o640)
        self.account.hand_over(path)
        return path

    def _start(
        self,
        host: str,
        program: str | Path,
        *arguments: str | Path,
        environment: Mapping[str, str] = os.environ,
        as_root: bool = False,
    ) -> None:
        user, group = self.account.options["user"], self.account.options["group"]
        become = ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups"]
        command = [*([] if as_root else become), program, *arguments]
        log = places.RUN / host / f"{Path(program).name}.log"
        network.start(host, *command, environment=environment, log=log)


def _servers(hosts: Iterable[str], port: int) -> str:
    return "\n".join(f"    server {each} {address(each)}:{port} check" for each in hosts)


def _get(url: str) -> bytes | None:
    """Return what a server responds with a success; None for anything else."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310 - our own address
            body: bytes = response.read()
            return body
    except OSError:
        return None
