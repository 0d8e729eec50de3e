"""Named steps of an operation, marked at its statements, for whoever wants to show them.

Nothing is recorded unless a block asks for it, and no value that a statement has.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass
class Step:
    """A step, how many rows its statement matched, and how long it took."""

    name: str
    rows: int = 0
    ms: float = 0.0


_recorded: ContextVar[tuple[list[Step], ...]] = ContextVar("steps", default=())


@contextmanager
def step(name: str) -> Iterator[Step]:
    """Mark the statement of a step; the block may say how many rows it matched."""
    current = Step(name)
    started = time.perf_counter()
    try:
        yield current
    finally:
        current.ms = round((time.perf_counter() - started) * 1000, 1)
        for recorded in _recorded.get():
            recorded.append(current)


@contextmanager
def recording(recorded: list[Step]) -> Iterator[None]:
    """Append the steps of the block to a list, in the order in which they end.

    A block within a block is recorded by both.
    """
    token = _recorded.set((*_recorded.get(), recorded))
    try:
        yield
    finally:
        _recorded.reset(token)
