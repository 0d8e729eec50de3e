"""Types of command line arguments: a wrong value is refused in one line."""

from argparse import ArgumentTypeError
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit


def number_up_to(limit: int) -> Callable[[str], int]:
    """Return a type of the numbers from 1 to a limit."""

    def number(text: str) -> int:
        if not (_is_whole(text) and 1 <= int(text) <= limit):
            raise ArgumentTypeError(f"{text!r} is not a number from 1 to {limit:,}")
        return int(text)

    return number


def whole_number_up_to(limit: int) -> Callable[[str], int]:
    """Return a type of the numbers from 0 to a limit."""

    def number(text: str) -> int:
        if not (_is_whole(text) and int(text) <= limit):
            raise ArgumentTypeError(f"{text!r} is not a whole number up to {limit:,}")
        return int(text)

    return number


def _is_whole(text: str) -> bool:
    return text.isascii() and text.isdecimal()


def url(text: str) -> str:
    """Return an HTTP address without a slash at its end."""
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ArgumentTypeError(f"{text!r} is not like http://127.0.0.1:8000")
    return text.rstrip("/")


def new_file(text: str) -> Path:
    """Return a path where a file can be written."""
    path = Path(text)
    if path.is_dir() or not path.parent.is_dir():
        raise ArgumentTypeError(f"can't write to {text!r}")
    return path
