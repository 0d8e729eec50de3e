"""The lab's Redis: a client for each process, whose commands count as statements."""

from typing import Any

import redis

from lab.harness import statements

PREFIX = "lab:"
_client: "CountingRedis | None" = None


class CountingRedis(redis.Redis):
    """Redis, adding a thread's commands to its SQL statements."""

    def execute_command(self, *args: Any, **options: Any) -> Any:
        statements.add(" ".join(map(str, args)))
        return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]


def connect(url: str) -> None:
    """Connect `client` to the server at a URL."""
    global _client  # noqa: PLW0603 - one client, with its pool, for the process
    _client = CountingRedis(connection_pool=redis.ConnectionPool.from_url(url))


def client() -> CountingRedis:
    """Return this process's client."""
    assert _client is not None, "the lab runs without Redis"
    return _client
