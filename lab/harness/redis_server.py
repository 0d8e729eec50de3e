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

from lab.harness.shutdown import die_with_parent

START_SECONDS_MAX = 20
CONFIG = """
bind 127.0.0.1
port {port}
requirepass {password}
dir {folder}
save ""
appendonly no
"""


def is_obtainable() -> bool:
    """Return True if `provide` would find a Redis, without connecting to it."""
    return bool(settings.REDIS_URL or shutil.which("redis-server"))


@contextlib.contextmanager
def provide(*, wanted: bool = True) -> Iterator[str | None]:
    """Yield the URL of a Redis for the time of the block; None where there is none.

    :raises redis.RedisError: the Redis that REDIS_URL names does not respond
    """
    if not wanted:
        yield None
    elif settings.REDIS_URL:
        _check(settings.REDIS_URL)
        yield settings.REDIS_URL
    elif binary := shutil.which("redis-server"):
        with _run_own(binary) as url:
            yield url
    else:
        yield None


def _check(url: str) -> None:
    try:
        with redis.Redis.from_url(url) as client:
            client.ping()
    except ValueError as error:  # of from_url: it is no URL of a Redis
        raise redis.ConnectionError(f"REDIS_URL: {error}") from error


@contextlib.contextmanager
def _run_own(binary: str) -> Iterator[str]:
    """Run a server that writes nothing to disk, on a free port, until the block ends."""
    port, password = _free_port(), secrets.token_urlsafe()
    url = f"redis://:{password}@127.0.0.1:{port}/0"
    with tempfile.TemporaryDirectory(prefix="lab-redis-") as folder:
        server = _start(binary, CONFIG.format(port=port, password=password, folder=folder))
        try:
            _wait_for(url, server)
            yield url
        finally:
            server.kill()
            server.wait()


def _start(binary: str, config: str) -> subprocess.Popen[bytes]:
    server = subprocess.Popen(
        [*die_with_parent("KILL"), binary, "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        process_group=0,
    )
    assert server.stdin is not None
    # Not as arguments: every user of the machine can read those.
    server.stdin.write(config.encode())
    server.stdin.close()
    return server


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS_MAX
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
