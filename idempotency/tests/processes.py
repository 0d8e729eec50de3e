"""Processes of the test project on the test database: a web server, a worker, a broker."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from django.conf import settings
from django.db import connection
from django.test import Client

PROJECT = "idempotency.tests.project"
PACKAGE = Path(__file__).resolve().parents[1]

CSRF = "c" * 32


def build(kind: str, folder: Path) -> Path:
    """Build the wheel, or the sdist, into a folder and return it."""
    command = [sys.executable, "-m", "build", "--no-isolation", f"--{kind}"]
    done = subprocess.run(
        [*command, "--outdir", str(folder), str(PACKAGE)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return built


def until(condition: Callable[[], Any], *, seconds: float = 60, what: str = "") -> Any:
    """Wait for a condition to become true and return its value; fail after so many seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError(f"did not come to be in {seconds} s: {what or condition}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def database_url(name: str | None = None) -> str:
    """Return the URL of the tests' database, or of another one on its server."""
    params = connection.get_connection_params()
    user, password = quote(params["user"], ""), quote(params.get("password") or "", "")
    place = f"{quote(params['host'], '')}:{params.get('port') or 5432}"
    return f"postgresql://{user}:{password}@{place}/{name or params['dbname']}"


@contextmanager
def started(
    command: list[str], *, folder: Path, **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process on the test database until the block ends; its log is in the folder."""
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": os.environ["DJANGO_SETTINGS_MODULE"],
        "DATABASE_URL": database_url(),
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "FAULT_FOLDER": str(folder),
        **environment,
    }
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    with process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def server(folder: Path, *, versions: str = "1", **idempotency: Any) -> Iterator["Server"]:
    """Serve the test project until the block ends or a failpoint kills it.

    :param versions: of the fingerprint, that this server knows
    :param idempotency: its settings; RETENTION in seconds
    """
    port = free_port()
    command = [sys.executable, "-m", f"{PROJECT}.serve", str(port)]
    environment = {"IDEMPOTENCY": json.dumps(idempotency), "FINGERPRINT_VERSIONS": versions}
    with started(command, folder=folder, **environment) as process:
        until(
            lambda: process.poll() is not None or _listens(port),
            what=f"a server on {port}; its log is {folder / 'log'}",
        )
        yield Server(port, process)


class Response(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes


class Server(NamedTuple):
    port: int
    process: subprocess.Popen[bytes]

    def post(self, path: str, client: Client, key: str = "k", *, amount: int = 1) -> Response:
        """Send a request with a signed-in client's session."""
        return self.send("POST", path, client, key, f'{{"amount": {amount}}}'.encode())

    def send(
        self, method: str, path: str, client: Client, key: str = "k", body: bytes = b""
    ) -> Response:
        session = client.cookies[settings.SESSION_COOKIE_NAME].value
        connected = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {
            "Cookie": f"{settings.SESSION_COOKIE_NAME}={session}; csrftoken={CSRF}",
            "X-CSRFToken": CSRF,
            "Idempotency-Key": key,
            "Content-Type": "application/json",
        }
        try:
            connected.request(method, path, body, headers)
            response = connected.getresponse()
            return Response(response.status, response.headers, response.read())
        finally:
            connected.close()


def killed(process: subprocess.Popen[bytes]) -> bool:
    """Return True once a process has died by SIGKILL, which nobody but a failpoint sent."""
    return process.wait(60) == -signal.SIGKILL


@contextmanager
def broker(folder: Path) -> Iterator[str]:
    """Run a Redis of the tests' own until the block ends."""
    program, port = shutil.which("redis-server"), free_port()
    assert program
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    with started(command, folder=folder) as process:
        until(lambda: process.poll() is None and _listens(port), what="redis-server listens")
        yield f"redis://127.0.0.1:{port}/0"


@contextmanager
def worker(folder: Path, broker: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a Celery worker of one process until the block ends or a failpoint kills it."""
    options = ["--pool=solo", "--loglevel=INFO", "--without-gossip", "--without-mingle"]
    command = [sys.executable, "-m", "celery", "-A", f"{PROJECT}.tasks", "worker", *options]
    with started(command, folder=folder, BROKER=broker) as process:
        yield process


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
