"""A real server for tests: several gunicorn processes on the test database, with failpoints."""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import urllib3
from django.db import connection

from tests.support import pooler

ROOT = Path(__file__).resolve().parents[2]


def free_port(count: int = 1) -> int:
    """Return the first of some free ports in a row, where no outgoing connection gets one.

    (By chance that is nobody's: the workers of a run share the seed of `random`.)
    """
    chance = random.SystemRandom()
    while True:
        port = chance.randrange(10_000, 32_000)
        if all(map(_is_free, range(port, port + count))):
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def until(condition: Any, *, seconds: float = 60, what: str = "") -> Any:
    """Wait for a condition to become true and return its value; fail after so many seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError(f"did not come to be in {seconds} s: {what or condition}")


def ends_with_the_run() -> list[str]:
    """Return what has the kernel end a command when the thread that started it does."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM"] if setpriv else []


def database_url(params: dict[str, Any]) -> str:
    """Return the DATABASE_URL of a database from a Django connection's parameters."""
    user, password = quote(params["user"], ""), quote(params.get("password", ""), "")
    return f"postgres://{user}:{password}@{params['host']}:{params['port']}/{params['dbname']}"


@contextmanager
def another_database(suffix: str) -> Iterator[str]:
    """Yield the URL of an empty database beside the tests' own, and named after it."""
    name = f"{connection.settings_dict['NAME']}_{suffix}"

    def execute(statement: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = 0")  # of a busy disk this asks much
            cursor.execute(statement)
            cursor.execute("RESET statement_timeout")

    execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    execute(f"CREATE DATABASE {name}")
    try:
        yield database_url(connection.get_connection_params() | {"dbname": name})
    finally:
        execute(f"DROP DATABASE {name} WITH (FORCE)")


def descendants(pid: int) -> dict[int, str]:
    """Return the processes that a process, or one of these, has started, with their commands."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    found = {int(child): "" for each in lists for child in _read(each).split()}
    for child in tuple(found):
        found |= {child: _read(Path(f"/proc/{child}/cmdline")), **descendants(child)}
    return found


def sockets_of(pid: int) -> int:
    """Return how many sockets a process holds."""
    return sum(_is_socket(file) for file in Path(f"/proc/{pid}/fd").glob("*"))


def _is_socket(file: Path) -> bool:
    try:
        return str(file.readlink()).startswith("socket:")
    except FileNotFoundError:
        return False


@contextmanager
def ended(process: subprocess.Popen[Any]) -> Iterator[None]:
    """Have a process ended when the block is, even where a test fails: the next one is not to."""
    with process:
        try:
            yield
        finally:
            process.kill()


def is_running(pid: int) -> bool:
    """Say whether a process is there and no zombie."""
    status = _read(Path(f"/proc/{pid}/status"))
    return bool(status) and "\nState:\tZ" not in status


def _read(file: Path) -> str:
    """Return what /proc says, nothing of a process that has just ended."""
    try:
        return file.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


class LiveServer:
    """gunicorn with `tests.support.wsgi`; its failpoints are armed by files in a folder."""

    def __init__(
        self,
        *,
        database: dict[str, Any],
        folder: Path,
        workers: int = 3,
        threads: int = 8,
        options: Sequence[str] = (),
        **environment: str,
    ) -> None:
        self.options = options
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.folder = folder
        self.log = folder / "server.log"
        pooled = pooler.is_wanted()
        self.direct = {"DATABASE_URL": database_url(database), "DATABASE_POOLER": "false"}
        self.environment = os.environ | {
            "DEBUG": "true",
            "DATABASE_URL": database_url(pooler.through_pooler(database) if pooled else database),
            "DATABASE_POOLER": str(pooled).lower(),
            "PORT": str(self.port),
            "WEB_WORKERS": str(workers),
            "WEB_THREADS": str(threads),
            "FAULT_FOLDER": str(folder),
            "TOKENS_PER_MINUTE": "1000000",
            "SIGN_INS_PER_MINUTE": "1000000",
            "WRITES_PER_MINUTE": "1000000",
            **environment,
        }

    def __enter__(self) -> Self:
        command = [
            *ends_with_the_run(),  # a run that is killed leaves no server
            *(sys.executable, "-m", "gunicorn", "--config", "config/gunicorn.py"),
            *self.options,
            "tests.support.wsgi:application",
        ]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=self.environment, stdout=log, stderr=log
            )
        try:
            until(self._responds, what=f"the server responds; its log is {self.log}")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)

    def _responds(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return urllib3.request("GET", f"{self.url}/healthz", retries=False).status == 200
        except urllib3.exceptions.HTTPError:
            return False

    def arm(self, point: str, fault: str, *, times: int = 1) -> None:
        """Have the next passages of a failpoint `kill` the worker, or `hold` until released."""
        for number in range(times):
            (self.folder / f"{point}.{number}.{fault}").touch()

    def hits(self, point: str) -> int:
        """Return how many of the armed faults at a point have really happened."""
        return len(list(self.folder.glob(f"{point}.*.hit")))

    def release(self, point: str) -> None:
        """Let everybody go on who is held at a point."""
        (self.folder / f"{point}.released").touch()

    def disarm(self) -> None:
        """Release everybody and forget all faults."""
        for held in self.folder.glob("*.holding"):
            self.release(held.name.partition(".")[0])
        for file in self.folder.glob("*.*"):
            if file != self.log and file.suffix not in {".released", ".holding"}:
                file.unlink(missing_ok=True)
        # A held request polls for its release file: leave it until nobody is held any more.
        until(lambda: not list(self.folder.glob("*.holding")), what="nobody is held")
        for file in self.folder.glob("*.released"):
            file.unlink(missing_ok=True)


class Caller:
    """A customer's HTTP client, one connection a request, so that every click stands alone."""

    def __init__(self, url: str, token: str, *, timeout: float = 40) -> None:
        self.url = url
        self.headers = {"Authorization": f"Token {token}", "Connection": "close"}
        self.timeout = timeout

    def post(
        self, path: str, body: Any = None, *, key: str | None = None, **headers: str
    ) -> urllib3.BaseHTTPResponse:
        extra = {"Idempotency-Key": key} if key else {}
        return urllib3.request(
            "POST",
            self.url + path,
            json=body,
            headers=self.headers | extra | headers,
            timeout=self.timeout,
            retries=False,
        )

    def get(self, path: str) -> urllib3.BaseHTTPResponse:
        return urllib3.request(
            "GET", self.url + path, headers=self.headers, timeout=self.timeout, retries=False
        )
