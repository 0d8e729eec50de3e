"""Locks on files of the home; a file that is removed meanwhile is not the lock any more."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from embedded_postgres.places import home


def lock(name: str, operation: int) -> int:
    """Return a descriptor that holds the lock on a file of the home."""
    path = home() / name
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as on_failure:
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except FileNotFoundError:
                continue  # `remove` was at the same place at this moment
            on_failure.callback(os.close, descriptor)
            fcntl.flock(descriptor, operation)
            if is_at(path, descriptor):
                on_failure.pop_all()
                return descriptor


def is_at(path: Path, descriptor: int) -> bool:
    """Return False if the locked file was removed meanwhile: others lock a new one now."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def locked(name: str, operation: int) -> Iterator[None]:
    """Hold the lock on a file of the home."""
    descriptor = lock(name, operation)
    try:
        yield
    finally:
        os.close(descriptor)
