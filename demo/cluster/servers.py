"""The programs on a system's hosts: configured, started and ended."""

import os
import pwd
import secrets
import signal
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from string import Template
from typing import Any

from demo.cluster import network, places
from demo.cluster.hosts import Hosts
from demo.cluster.network import NETWORK, address

PORT = 8000  # of the web servers
UP_SECONDS_MAX = 120
DEMO_PASSWORD = secrets.token_hex(16)  # of the customers, in all systems of this run


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


def get(url: str) -> bytes | None:
    """Return what a server responds with a success; None for anything else."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310 - our own address
            body: bytes = response.read()
            return body
    except OSError:
        return None


class Servers:
    """What runs on the hosts of a system.

    :ivar settings: what its application gets beside the settings of every one
    """

    def __init__(self, hosts: Hosts, settings: Mapping[str, str]) -> None:
        self.hosts, self.settings = hosts, settings
        self.account = places.account()
        self.password, self.secret_key = secrets.token_hex(16), secrets.token_hex(32)
        databases = hosts.databases
        self.values = {
            "scope": hosts.name,
            "database": hosts.name,
            "network": NETWORK,
            "binaries": str(places.binaries()),
            "synchronous": "true",
            "superuser_password": secrets.token_hex(16),
            "replication_password": secrets.token_hex(16),
            "etcd_peers": ",".join(f"{each}=http://{address(each)}:2380" for each in databases),
            "etcd_clients": ",".join(f"{address(each)}:2379" for each in databases),
            "user": pwd.getpwuid(self.account.options["user"]).pw_name,
        }

    @property
    def url(self) -> str:
        return f"http://{address(self.hosts.front)}"

    def start_etcd(self, host: str) -> None:
        self._start(host, "etcd", "--config-file", self._configured(host, "etcd.yml"))

    def start_patroni(self, host: str) -> None:
        self._start(host, places.PATRONI / "patroni", self._configured(host, "patroni.yml"))

    def start_proxies(self, host: str) -> None:
        """Start what leads a web server to the primary."""
        self._start_haproxy(host)
        users = places.RUN / host / "users.txt"
        users.write_text(f'"{self.hosts.name}" "{self.password}"\n')
        self.account.hand_over(users)
        self._start(host, "pgbouncer", self._configured(host, "pgbouncer.ini"), as_root=True)

    def start_web(self, host: str) -> None:
        """Start a web server as it is deployed, and return once it is ready."""
        python = (sys.executable, "-m", "gunicorn", "--config", "config/gunicorn.py")
        self._start(host, *python, environment=self.environment(host, pooled=True), as_root=True)
        ready = f"http://{address(host)}:{PORT}/readyz"
        until(lambda: get(ready) is not None, seconds=UP_SECONDS_MAX, what=f"{ready} responds")

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
        host, servers = self.hosts.front, _servers(self.hosts.webs, PORT)
        configured = self._configured(host, "haproxy-front.cfg", servers=servers)
        self._start(host, "haproxy", "-f", configured, as_root=True)

    def start_relay(self, host: str) -> None:
        """Start a relay, and what leads it to the primary: no pooler, for its session is a lock."""
        self._start_haproxy(host)
        relay, environment = ("manage.py", "relay"), self.environment(host, pooled=False)
        self._start(host, sys.executable, *relay, environment=environment, as_root=True)

    def kill(self, host: str, *programs: str) -> None:
        """Kill programs of a host; one of them has to run."""
        number = network.signal_all(host, signal.SIGKILL, programs=programs)
        assert number, f"nothing of {programs} runs on {host}"

    def environment(self, host: str, *, pooled: bool) -> dict[str, str]:
        """Return the settings of the application on a host."""
        port, name = 6432 if pooled else 5000, self.hosts.name
        return {
            **os.environ,
            "DATABASE_URL": f"postgres://{name}:{self.password}@127.0.0.1:{port}/{name}",
            "DATABASE_POOLER": str(pooled).lower(),
            "DEBUG": "false",
            "SECRET_KEY": self.secret_key,
            "ALLOWED_HOSTS": "*",
            "HTTPS": "false",
            "DEMO_PASSWORD": DEMO_PASSWORD,
            "HOST": address(host),
            "PORT": str(PORT),
            "TRUSTED_PROXIES": address(self.hosts.front),
            "WRITES_PER_MINUTE": "1000000",
            "CHARGES_PER_MINUTE": "1000000",
            "LOG_LEVEL": "WARNING",
            "ROLE": "both",
            "PAYMENTS_URL": "",
            **self.settings,
        }

    def _start_haproxy(self, host: str) -> None:
        servers = _servers(self.hosts.databases, 5432)
        configured = self._configured(host, "haproxy-database.cfg", servers=servers)
        self._start(host, "haproxy", "-f", configured, as_root=True)

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
