"""The lab's Redis: a client for each process, and a count of the commands each thread sent."""

import threading
from typing import Any

import redis

PREFIX = "lab:"
sent = threading.local()
_client: "CountingRedis | None" = None


class CountingRedis(redis.Redis):
    """Redis, counting a thread's commands beside its SQL statements."""

    def execute_command(self, *args: Any, **options: Any) -> Any:
        sent.commands = getattr(sent, "commands", 0) + 1
        return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]


def connect(url: str) -> None:
    """Connect `client` to the server at a URL."""
    global _client  # noqa: PLW0603 - one client, with its pool, for the process
    _client = CountingRedis(connection_pool=redis.ConnectionPool.from_url(url))


def client() -> CountingRedis:
    """Return this process's client."""
    assert _client is not None, "the lab runs without Redis"
    return _client
