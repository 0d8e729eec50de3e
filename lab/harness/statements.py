"""The statements that each thread has sent, SQL and Redis commands: counted, and read by part."""

import re
import threading

from psycopg.sql import Composable

CHARACTERS_MAX = 400  # of a statement that is shown
VALUES = re.compile(r"[0-9a-f-]{8,}|\d{7,}|(?<=:)[\w-]{40,}")  # ids and tokens, of a click alone


class _Sent(threading.local):
    """A thread's statements since its click arrived; BEGIN and COMMIT do not pass here."""

    def __init__(self) -> None:
        self.all: list[str | Composable] = []
        self.read = 0


_sent = _Sent()


def begin() -> None:
    """Forget the statements of this thread's last click."""
    _sent.all, _sent.read = [], 0


def add(statement: str | Composable) -> None:
    """Add a statement that this thread sends now."""
    _sent.all.append(statement)


def count() -> int:
    """Return the number of statements since `begin`."""
    return len(_sent.all)


def read_new() -> list[str]:
    """Return the statements since the last call, each in a line, without a click's own values."""
    new, _sent.read = _sent.all[_sent.read :], len(_sent.all)
    texts = (each if isinstance(each, str) else each.as_string() for each in new)
    return [VALUES.sub("…", " ".join(text.split())[:CHARACTERS_MAX]) for text in texts]
