"""Serve the project in the foreground: `python -m config.serve [--storm]`. Ctrl-C ends it all.

This process only looks after the others; Django is loaded by those that it starts, so that
looking costs little memory.
"""

import argparse
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import environ

from config.embedded_postgres import server as embedded

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 60
IDLE_SECONDS = 10  # by then the connections that the storm opened are closed
WELCOME = """
Serving until Ctrl-C:
  API       {url}/api/v1/        docs: {url}/api/docs/
  admin     {url}/admin/         sign in as admin / {password}
  customers alice, bob, carol, dave / {password}
  tokens    .venv/bin/python manage.py seed_demo --json
"""
MEMORY = "The web server and the database now hold {} MB of resident memory.\n"


def main() -> int:
    """Set up, serve and, with --storm, click; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--port", type=int, default=8000, help="where to listen (8000)")
    parser.add_argument("--storm", action="store_true", help="run the double-click storm first")
    chosen = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell's background job ignores SIGINT
        signal.signal(number, signal.default_int_handler)
    try:
        return _serve(chosen.port, storm=chosen.storm)
    except KeyboardInterrupt:
        _say("\nStopped.")
        return 0


def _serve(port: int, *, storm: bool) -> int:
    url = f"http://127.0.0.1:{port}"
    if not _is_free(port):
        _say(f"Port {port} is taken. Choose another one: PORT={port + 1}")
        return 1
    if (ROOT / ".env").exists():
        environ.Env.read_env(ROOT / ".env")
    if not os.environ.get("DATABASE_URL"):
        embedded.ensure_running()  # it stops with the last process that called this
    if _manage("migrate", "--verbosity", "0") or _manage("seed_demo"):
        return 1
    with _gunicorn(port) as web:
        _wait_until_ready(f"{url}/readyz", web)
        if storm and _manage("simulate", "double_click", "--base-url", url, "--concurrency", "40"):
            return 1
        password = os.environ.get("DEMO_PASSWORD", "only-for-the-demo")
        _say(WELCOME.format(url=url, password=password))
        with contextlib.suppress(subprocess.TimeoutExpired):
            return web.wait(IDLE_SECONDS)
        _say(MEMORY.format(_resident_mb()))
        return web.wait()


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _manage(*arguments: str) -> int:
    command = subprocess.Popen([sys.executable, "manage.py", *arguments], cwd=ROOT)
    try:
        return command.wait()
    except KeyboardInterrupt:  # it was interrupted too: let it end in its own way
        command.wait(START_SECONDS)
        raise


@contextlib.contextmanager
def _gunicorn(port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run the web server; at the end let requests in flight end first."""
    command = [sys.executable, "-m", "gunicorn", "--config", "config/gunicorn.py"]
    quiet = {"LOG_LEVEL": "WARNING"} | os.environ
    # Its own process group: Ctrl-C reaches this process, which then ends the server in order.
    web = subprocess.Popen(command, cwd=ROOT, env=quiet | {"PORT": str(port)}, process_group=0)
    try:
        yield web
    finally:
        web.terminate()
        web.wait()


def _wait_until_ready(url: str, web: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if web.poll() is not None:
            sys.exit("The web server ended; its reason stands above.")
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - our own address
                return
        except OSError:
            time.sleep(0.1)
    sys.exit(f"The web server did not answer at {url} within {START_SECONDS} s.")


def _resident_mb() -> int:
    """Return the resident memory of this process, all that it started, and the database."""
    parents: dict[int, int] = {}
    resident: dict[int, int] = {}
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            fields = dict(line.split(":\t", 1) for line in status.read_text().splitlines())
        except OSError:  # it has just ended
            continue
        pid = int(fields["Pid"])
        parents[pid] = int(fields["PPid"])
        resident[pid] = int(fields.get("VmRSS", "0 kB").split()[0])
    family = {os.getpid(), embedded.postmaster() or os.getpid()}
    while grown := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= grown
    return sum(resident.get(pid, 0) for pid in family) // 1024


if __name__ == "__main__":
    sys.exit(main())
