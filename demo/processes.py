"""The processes of a demo: children of this one, which ends them in order when it ends."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS_MAX = 60


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def start(
    *command: str, environment: Mapping[str, str], stdout: int | None = None
) -> subprocess.Popen[bytes]:
    """Start a Python program in a process group of its own.

    So Ctrl-C reaches this process alone, which then ends the others in order.
    """
    return subprocess.Popen(
        [sys.executable, *command], cwd=ROOT, env=environment, stdout=stdout, process_group=0
    )


@contextlib.contextmanager
def running(
    *command: str, environment: Mapping[str, str], stdout: int | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a Python program; at the end, let it finish what is in flight."""
    with start(*command, environment=environment, stdout=stdout) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.wait()


def gunicorn(
    port: int, *, environment: Mapping[str, str]
) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
    """Run the web server; at the end, let it finish the requests in flight."""
    quiet = {"LOG_LEVEL": "WARNING", **environment, "PORT": str(port)}
    return running("-m", "gunicorn", "--config", "config/gunicorn.py", environment=quiet)


def manage(*arguments: str, environment: Mapping[str, str] = os.environ) -> int:
    """Run a command of manage.py and return its exit code."""
    command = start("manage.py", *arguments, environment=environment)
    try:
        return command.wait()
    except KeyboardInterrupt:
        command.send_signal(signal.SIGINT)  # it ends in its own way
        command.wait(START_SECONDS_MAX)
        raise


def wait_until_ready(url: str, server: subprocess.Popen[bytes]) -> None:
    """Return when a server responds that it is ready; SystemExit if it ends, or never does."""
    deadline = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < deadline:
        if server.poll() is not None:
            sys.exit("The server ended; its reason is above.")
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - our own address
                return
        except OSError:
            time.sleep(0.1)
    sys.exit(f"No server responded at {url} within {START_SECONDS_MAX} s.")
