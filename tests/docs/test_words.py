"""No retired word of docs/glossary.md is left, in any room: `pytest tests/docs/test_words.py -q`.

A failure lists `file:line word`. `-k lab` searches one room.
"""

import functools
import io
import re
import token
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.docs.documents import ROOT

READ = frozenset({".css", ".html", ".js", ".md", ".po", ".py", ".toml", ".yaml", ""})
# Not ours to word: the licence, and what tools or people keep beside the code.
NOT_SEARCHED = re.compile(r"\.(?!ci$|pre-commit)|var$|build$|LICENSE$|requirements")
# Retired, wherever they stand. An identifier counts as its parts: `ParkedRow` is "Parked Row".
# (But for an option of rich's tables, and HTTP's own words for 500.)
ANYWHERE = re.compile(
    r"\b(?:(?:un)?answer(?:s|ed|ing|able)?|told|heard|twins?|park(?:s|ed|ing)?|desks?"
    r"|(?<!pad )edges?|(?<!itself in )troubles?|fault points?|lifelines?|directors?|scenes?"
    r"|stages?|stor(?:y|ies)|keepers?|being paid)\b",
    re.IGNORECASE,
)
JOINED = re.compile(r"one_at_a_time|send[_-]again|try[_-]later", re.IGNORECASE)
CHINESE = re.compile(r"应答|了结|搁置|天真|(?<!幂等)(?<![一按回主外务])键(?!盘)")
# Plain English in a sentence; as names in code, or parts of such, they have another word now.
IN_NAMES = re.compile(r"\b(?:[Ss]aid|[Rr]epeat(?:s|ed)?)\b|^(?:look|again|kept|decision|.* KEPT)$")
# Plain English elsewhere; in the documents they would stand for a retry, and for a response.
IN_DOCUMENTS = re.compile(r"\b(?:repeat(?:s|ed|ing)?|said)\b", re.IGNORECASE)
# Elsewhere it is speed.
IN_THE_LAB = re.compile(r"\bperformances?\b", re.IGNORECASE)
# By room: what a relay did to its rows, and what the lab played, is called otherwise there.
NAMES_OF_A_ROOM = {
    ("orders/", "tests/orders/", "benchmarks/"): re.compile(r"^(?:take|taken|enter(?! context))\b"),
    ("lab/", "tests/lab/"): re.compile(r"\b[Pp]rograms?\b"),
}

LAB = ("lab/", "tests/lab/")
RETIRED_WORDS_TABLE = ("docs/glossary.md", "## Retired words")
# (file, word): why it may stand there.
ALLOWED = {
    ("operations/site.py", "desk"): "the old address, which redirects",
    ("tests/surface/access.py", "desk"): "the same",
    ("tests/docs/test_words.py", "*"): "the patterns themselves",
    ("CHANGELOG.md", "*"): "it says what each retired name became",
}


class Found(NamedTuple):
    """A retired word, and where it stands."""

    file: str
    line: int
    word: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} {self.word}"


def _is_read(file: Path) -> bool:
    parts = file.relative_to(ROOT).parts[1:]
    return file.is_file() and file.suffix in READ and not any(part[0] == "." for part in parts)


def files() -> Iterator[Path]:
    """Return every text of the repository, but for what is not searched."""
    for top in sorted(ROOT.iterdir()):
        if not NOT_SEARCHED.match(top.name):
            inside = sorted(top.rglob("*")) if top.is_dir() else [top]
            yield from (file for file in inside if _is_read(file))


def words_apart(text: str) -> str:
    """Return a text with the words of its identifiers apart: `AnswerLost`, `answer_lost`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text).replace("_", " ").replace("-", " ")


def in_line(file: str, line: str) -> Iterator[str]:
    """Return the retired words of a line, whatever kind of file it is of."""
    apart = words_apart(line)
    yield from ANYWHERE.findall(apart)
    yield from JOINED.findall(line)
    yield from CHINESE.findall(line)
    if file.startswith(LAB):
        yield from IN_THE_LAB.findall(apart)
    if file.endswith(".md"):
        yield from IN_DOCUMENTS.findall(line)


def in_names(file: str, code: str) -> Iterator[tuple[int, str]]:
    """Return the retired words among the names of Python code, with their lines."""
    rooms = [words for where, words in NAMES_OF_A_ROOM.items() if file.startswith(where)]
    for each in tokenize.generate_tokens(io.StringIO(code).readline):
        if each.type == token.NAME:
            for words in (IN_NAMES, *rooms):
                for word in words.findall(words_apart(each.string)):
                    yield each.start[0], word


def searched(path: Path) -> Iterator[Found]:
    """Return every retired word of a file, allowed or not."""
    file, text = str(path.relative_to(ROOT)), path.read_text()
    exempt, heading = RETIRED_WORDS_TABLE
    if file == exempt:
        text = text.partition(heading)[0]
    for number, line in enumerate(text.splitlines(), 1):
        yield from (Found(file, number, word.lower()) for word in in_line(file, line))
    if path.suffix == ".py":
        yield from (Found(file, line, word.lower()) for line, word in in_names(file, text))


@functools.cache
def everything() -> list[Found]:
    return [found for path in files() for found in searched(path)]


ROOMS = sorted({str(path.relative_to(ROOT)).partition("/")[0] for path in files()})


def allowed_by(found: Found) -> set[tuple[str, str]]:
    return ALLOWED.keys() & {(found.file, found.word), (found.file, "*")}


@pytest.mark.parametrize("room", ROOMS)
def test_no_retired_word_is_left(room: str) -> None:
    left = [
        str(found)
        for found in everything()
        if found.file.partition("/")[0] == room and not allowed_by(found)
    ]
    assert not left, "\n" + "\n".join(left)


def test_what_is_allowed_is_there() -> None:
    needed = {entry for found in everything() for entry in allowed_by(found)}
    assert set(ALLOWED) - needed == set()


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("class AnswerLost:", "Answer"),
        ("the unanswered ones", "unanswered"),
        ("answered_ms = 3", "answered"),
        ("#admin-desk {", "desk"),
        ('<p class="story">', "story"),
        ("a fault point", "fault point"),
        ("@idempotent(one_at_a_time='x')", "one_at_a_time"),
        ("{parked_rows}", "parked"),
        ("msgstr 响应丢失后再用这个键", "键"),
    ],
)
def test_a_retired_word_is_found(line: str, word: str) -> None:
    assert word in list(in_line("web/x.py", line))


@pytest.mark.parametrize(
    "line",
    [
        "404 Not Found: no order was found",
        "staged, a history, a descendant, a keepalive",
        "look at the log, take your time, try again later",
        "Server got itself in trouble",
        "Table(box=SIMPLE, pad_edge=False)",
        "msgstr 幂等键、主键和键盘",
    ],
)
def test_plain_english_is_no_retired_word(line: str) -> None:
    assert list(in_line("web/x.py", line)) == []


@pytest.mark.parametrize(
    ("file", "code", "words"),
    [
        ("web/x.py", "said = kept = look(again)", ["said", "kept", "look", "again"]),
        ("web/x.py", "CLICKS_ARE_KEPT, KEPT_DAYS, SUBMITTED_AGAIN = 1, 2, 3", ["CLICKS ARE KEPT"]),
        ("web/x.py", "is_repeat, is_repeatable = take(program)", ["repeat"]),
        ("orders/x.py", "taken = take(enter())", ["taken", "take", "enter"]),
        ("lab/x.py", "Program(1)", ["Program"]),
    ],
)
def test_a_retired_name_is_found(file: str, code: str, words: list[str]) -> None:
    assert [word for _, word in in_names(file, code + "\n")] == words
