"""What a contender runs on: an environment of its own, a database, a Redis, a gunicorn."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import psycopg
import redis
import urllib3

from benchmarks.packages.catalogue import COMMON, Contender

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENTS = ROOT / ".venv-compare"
WORKERS, THREADS = 2, 12  # of each of the two gunicorns: together 48 requests at a time
START_SECONDS = 60


def until(condition: Callable[[], Any], what: str, *, seconds: float = START_SECONDS) -> None:
    """Return when the condition is true; AssertionError after so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"did not come to be in {seconds} s: {what}"
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    """Return True if a process is there and no zombie."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def installed(contender: Contender) -> str:
    """Return the Python of the contender's own environment, made where it is missing or stale."""
    folder = ENVIRONMENTS / contender.module
    wanted = "\n".join((*COMMON, *contender.requirements))
    stamp, python = folder / "installed.txt", str(folder / "bin" / "python")
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        sys.stderr.write(f"installing {contender.title}\n")
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *COMMON, *contender.requirements], check=True)
        subprocess.run([python, "-m", "pip", "check"], check=True, stdout=subprocess.DEVNULL)
        stamp.write_text(wanted)
    return python


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def database_server() -> tuple[dict[str, Any], Any]:
    """Return how to log in to the project's PostgreSQL, started if it is the embedded one."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    os.environ.setdefault("LOG_LEVEL", "ERROR")
    import django

    django.setup()
    from django.db import connection

    connection.ensure_connection()
    return connection.get_connection_params(), connection


@contextmanager
def database(server: dict[str, Any], name: str) -> Iterator[str]:
    """Yield the URL of a new database on the project's server; it is dropped in the end.

    :param server: a Django connection's parameters
    """
    login = {key: server[key] for key in ("host", "port", "user", "password")}
    with psycopg.connect(**login, dbname=server["dbname"], autocommit=True) as admin:
        admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())
        admin.execute(f"CREATE DATABASE {name}".encode())
        user, password = quote(login["user"], ""), quote(login["password"], "")
        try:
            yield f"postgresql://{user}:{password}@{login['host']}:{login['port']}/{name}"
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


class Redis:
    """A server of the run's own that keeps all in memory and nothing on disk."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.folder = folder

    def __enter__(self) -> Self:
        command = ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port)]
        command += ["--save", "", "--appendonly", "no", "--dir", str(self.folder)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            until(self._responds, "Redis responds")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def size(self) -> int:
        """Return how many keys there are."""
        with redis.Redis.from_url(self.url) as client:
            return int(client.dbsize())

    def _responds(self) -> bool:
        assert self.process.poll() is None, "redis-server ended"
        try:
            return self.size() >= 0
        except redis.ConnectionError:
            return False


class Gunicorn:
    """Several workers of the contender's project."""

    def __init__(self, python: str, folder: Path, environment: dict[str, str]) -> None:
        self.python, self.folder, self.environment = python, folder, environment
        self.port = free_port()
        self.log = folder / f"gunicorn-{self.port}.log"

    def __enter__(self) -> Self:
        command = [self.python, "-m", "gunicorn", "benchmarks.packages.wsgi:application"]
        command += ["--bind", f"127.0.0.1:{self.port}", "--workers", str(WORKERS)]
        command += ["--worker-class", "gthread", "--threads", str(THREADS), "--timeout", "60"]
        command += ["--graceful-timeout", "2", "--no-control-socket"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=self.environment, stdout=log, stderr=log
            )
        try:
            until(self._responds, "gunicorn responds")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(START_SECONDS)

    def _responds(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            url = f"http://127.0.0.1:{self.port}/none/"
            return urllib3.request("GET", url, retries=False, timeout=5).status == 404
        except urllib3.exceptions.HTTPError:
            return False
