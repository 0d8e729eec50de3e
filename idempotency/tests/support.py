"""What tests of the boundary need in any project: failpoints, a read-only session, many at once."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from unittest.mock import patch
from uuid import UUID

from django.db import connection, transaction

from idempotency import failpoints
from idempotency.journal import recorder


@contextmanager
def armed_failpoints() -> Iterator[Callable[..., None]]:
    """Yield what arms a failpoint of this process with an act, once; check that it was reached."""
    armed: dict[str, Callable[[], Any]] = {}

    def arm(name: str, act: Callable[[], Any]) -> None:
        armed[name] = act

    def hook(name: str) -> None:
        if act := armed.pop(name, None):
            act()

    failpoints.install(hook)
    try:
        yield arm
    finally:
        failpoints.install(None)
    assert not armed, f"never reached: {list(armed)}"


@contextmanager
def recorded_failpoints() -> Iterator[list[str]]:
    """Yield the failpoints of this process that are passed, in order."""
    passed: list[str] = []
    failpoints.install(passed.append)
    try:
        yield passed
    finally:
        failpoints.install(None)


@contextmanager
def journal_in_memory() -> Iterator[recorder.Recorder]:
    """Have this process journal to a recorder of its own that only `flush` empties."""
    with patch.multiple(
        recorder, RECORDER=(own := recorder.Recorder()), _start=lambda seconds: None
    ):
        yield own


@contextmanager
def read_only() -> Iterator[None]:
    """Have the server refuse every write of this session, so that what succeeds has only read."""
    with connection.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = on")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SET default_transaction_read_only = off")


STANDBY = """
CREATE SCHEMA standby;
CREATE FUNCTION standby.pg_is_in_recovery() RETURNS boolean STABLE LANGUAGE sql AS 'SELECT true';
SET search_path = standby, public, pg_catalog;
"""


@contextmanager
def on_a_standby() -> Iterator[None]:
    """Have this session believe that its server is a standby."""
    with connection.cursor() as cursor:
        for statement in filter(str.strip, STANDBY.split(";")):
            cursor.execute(statement)
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("RESET search_path")
            cursor.execute("DROP SCHEMA standby CASCADE")


def together(count: int, act: Callable[[int], Any]) -> list[Any]:
    """Run `act(0) … act(count - 1)` in threads that start at one barrier; return their results."""
    barrier = threading.Barrier(count, timeout=60)

    def run(number: int) -> Any:
        try:
            barrier.wait(30)
            return act(number)
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as pool:
        return [future.result() for future in [pool.submit(run, n) for n in range(count)]]


def age(days: int) -> None:
    """Have all records be made so many days ago, past the guards."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(
            "UPDATE idempotency_record SET created_at = created_at - make_interval(days => %s),"
            " key_made_at = key_made_at - make_interval(days => %s),"
            " retained_until = retained_until - make_interval(days => %s)",
            [days, days, days],
        )


def uuid7(made_at: datetime) -> str:
    """Return a UUIDv7 that says it was made then."""
    milliseconds = int(made_at.timestamp() * 1000)
    return str(UUID(int=(milliseconds << 80) | (7 << 76) | (2 << 62) | 12345))
