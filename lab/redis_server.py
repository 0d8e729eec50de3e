"""The lab's Redis: the one that REDIS_URL names, else a server of the run's own, else none."""

import contextlib
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator

import redis
from django.conf import settings

START_SECONDS = 20
CONFIG = """
bind 127.0.0.1
port {port}
requirepass {password}
dir {folder}
save ""
appendonly no
"""


@contextlib.contextmanager
def available() -> Iterator[str | None]:
    """Yield the URL of a Redis for the time of the block; None where there is none to be had."""
    if settings.REDIS_URL:
        with redis.Redis.from_url(settings.REDIS_URL) as client:
            client.ping()
        yield settings.REDIS_URL
    elif binary := shutil.which("redis-server"):
        with _own(binary) as url:
            yield url
    else:
        yield None


@contextlib.contextmanager
def _own(binary: str) -> Iterator[str]:
    """Run a server on a free port, with a folder of its own, and nothing left of it afterwards."""
    with tempfile.TemporaryDirectory(prefix="lab-redis-") as folder:
        port, password = _free_port(), secrets.token_urlsafe()
        # On its standard input: arguments are there for every user of the machine to read.
        config = CONFIG.format(port=port, password=password, folder=folder).encode()
        server = subprocess.Popen(
            [*_ends_with_us(), binary, "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            process_group=0,
        )
        try:
            assert server.stdin is not None
            server.stdin.write(config)
            server.stdin.close()
            url = f"redis://:{password}@127.0.0.1:{port}/0"
            _wait_for(url, server)
            yield url
        finally:
            server.kill()
            server.wait()


def _ends_with_us() -> list[str]:
    """Return what makes the kernel end a command when its parent ends, even by kill -9."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL"] if setpriv else []


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    client = redis.Redis.from_url(url)
    while server.poll() is None and time.monotonic() < deadline:
        try:
            client.ping()
        except redis.ConnectionError:
            time.sleep(0.02)
        else:
            client.close()
            return
    raise redis.ConnectionError(f"a Redis of the lab's own did not start at {url}")
