"""Terms of SQL conditions: where a condition can be weakened by one term.

A term is a span of the text. Which spans weaken a condition depends on what it decides: a condition
that refuses (IF … THEN RAISE, a trigger's WHEN) is weakened by a term of an OR that is false, one
that admits (CHECK, WHERE) by a term of an AND that is true. NOT turns the one into the other.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

# What a term can hide: strings, comments, whole parentheses (found by depth), CASE and BETWEEN.
TOKEN = re.compile(
    r"'(?:[^']|'')*'|--[^\n]*|[()]|;|\b(?:AND|OR|BETWEEN|CASE|END|THEN|ORDER\s+BY|GROUP\s+BY|LIMIT"
    r"|HAVING|RETURNING|UNION|WINDOW|FOR\s+UPDATE|FOR\s+NO|DO|ON\s+CONFLICT)\b",
    re.IGNORECASE,
)
WHERE = re.compile(r"\bWHERE\b")
NOT = re.compile(r"\s*NOT\b\s*", re.IGNORECASE)
EXISTS = re.compile(r"\s*EXISTS\s*\(", re.IGNORECASE)
JOINING = frozenset({"AND", "OR", "BETWEEN", "CASE", "END"})


class Span(NamedTuple):
    """A part of a text."""

    start: int
    end: int

    def of(self, text: str) -> str:
        return text[self.start : self.end]


class Term(NamedTuple):
    """A term, and the constant that weakens the condition in its place."""

    span: Span
    constant: bool

    def replaced(self, text: str) -> str:
        """Return the text with the constant instead of the term."""
        constant = "true" if self.constant else "false"
        return f"{text[: self.span.start]}{constant}{text[self.span.end :]}"


def weakening(text: str, span: Span, *, admits: bool) -> Iterator[Term]:
    """Return every term whose replacement weakens a condition, however deep it lies in it.

    :param admits: whether the condition admits where it is true, rather than refuses
    """
    span = _opened(text, span)
    word, parts = _parts(text, span)
    if word:
        for part in parts:
            # ((a OR b) OR c), as PostgreSQL prints it, has the terms a, b and c.
            if admits == (word == "AND") and _parts(text, _opened(text, part))[0] != word:
                yield Term(_stripped(text, part), admits)
            yield from weakening(text, part, admits=admits)
    elif negation := NOT.match(text, span.start, span.end):
        yield from weakening(text, Span(negation.end(), span.end), admits=not admits)
    elif exists := EXISTS.match(text, span.start, span.end):
        inside = Span(exists.end(), span.end - 1)
        if first := next(iter(where_clauses(text, inside)), None):
            if admits:
                yield from terms_of_where(text, first)
            yield from () if admits else weakening(text, first, admits=False)


def where_clauses(text: str, span: Span | None = None) -> Iterator[Span]:
    """Return the condition of every WHERE, those of subqueries too."""
    span = span or Span(0, len(text))
    for found in WHERE.finditer(text, span.start, span.end):
        yield _stripped(text, Span(found.end(), _end_of_clause(text, Span(found.end(), span.end))))


def terms_of_where(text: str, clause: Span) -> Iterator[Term]:
    """Return the terms of a WHERE that all have to be true."""
    if len(_split(text, clause, "OR")) > 1:
        yield Term(clause, constant=True)
        return
    for part in _split(text, clause, "AND"):
        yield Term(_stripped(text, part), constant=True)


def _parts(text: str, span: Span) -> tuple[str, list[Span]]:
    """Return the word that joins a condition's terms, OR before AND, and the terms."""
    for word in ("OR", "AND"):
        parts = _split(text, span, word)
        if len(parts) > 1:
            return word, parts
    return "", [span]


def _split(text: str, span: Span, word: str) -> list[Span]:
    """Split a condition at a word, where that stands in no parentheses."""
    parts, start = [], span.start
    between = False
    for found, depth in _tokens(text, span):
        token = found[0].upper()
        if depth == 0 and token == "AND" and between:
            between = False
        elif depth == 0 and token == word:
            parts.append(Span(start, found.start()))
            start = found.end()
        elif depth == 0 and token == "BETWEEN":
            between = True
    return [*parts, Span(start, span.end)]


def _end_of_clause(text: str, span: Span) -> int:
    for found, depth in _tokens(text, span):
        ends = depth == 0 and found[0].upper() not in JOINING and found[0] not in "()"
        if depth < 0 or (ends and found[0][0] not in "'-"):
            return found.start()
    return span.end


def _tokens(text: str, span: Span) -> Iterator[tuple[re.Match[str], int]]:
    """Return what structures a condition, each with the depth of parentheses and CASEs there."""
    depth = 0
    for found in TOKEN.finditer(text, span.start, span.end):
        token = found[0].upper()
        depth -= token in {")", "END"}
        yield found, depth
        depth += token in {"(", "CASE"}


def _opened(text: str, span: Span) -> Span:
    """Return a span without the parentheses that hold all of it."""
    span = _stripped(text, span)
    while _is_enclosed(text, span):
        span = _stripped(text, Span(span.start + 1, span.end - 1))
    return span


def _is_enclosed(text: str, span: Span) -> bool:
    """Return True if one pair of parentheses holds all of a span."""
    if text[span.start : span.start + 1] != "(" or text[span.end - 1 : span.end] != ")":
        return False
    closing = [found.end() for found, depth in _tokens(text, span) if found[0] == ")" and not depth]
    return closing[:1] == [span.end]


def _stripped(text: str, span: Span) -> Span:
    """Return a span without white space and comments at its ends."""
    part = span.of(text)
    if trailing := re.search(r"(?:\s|--[^\n]*(?:\n|$))+\Z", part):
        part = part[: trailing.start()]
    leading = re.match(r"(?:\s|--[^\n]*\n)*", part)
    start = leading.end() if leading else 0
    return Span(span.start + start, span.start + len(part))
