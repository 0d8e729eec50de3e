"""The text of a string in source code, and where each character of it stands there."""

import re
from typing import NamedTuple

LITERAL = re.compile(rb"""[rbfuRBFU]{0,2}(\"{3}|'{3}|"|')""")


class Literal(NamedTuple):
    """Text, and the offsets of its bytes in the source."""

    text: str
    at: list[int]


def text_of(code: bytes, start: int, end: int) -> Literal:
    """Return the text between the quotes of an expression: of one literal, or of several joined.

    Escapes and the braces of f-strings stay as they are typed. Only ASCII is counted on.
    """
    text = bytearray()
    at: list[int] = []
    while found := LITERAL.search(code, start, end):
        inside = found.end()
        close = _closing(code, found[1], inside, end)
        text += code[inside:close]
        at += range(inside, close)
        start = close + len(found[1])
    return Literal(text.decode("latin-1"), at)


def _closing(code: bytes, quotes: bytes, start: int, end: int) -> int:
    while start < end and not code.startswith(quotes, start):
        start += 2 if code[start : start + 1] == b"\\" else 1
    return min(start, end)
