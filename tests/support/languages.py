"""Which texts of a page are not in its reader's language."""

import re
from collections.abc import Iterable, Iterator
from html.parser import HTMLParser

CHINESE = re.compile(r"[\u3400-\u9fff]")
WORD = re.compile(r"[A-Za-z]{3,}")
# What is no word in any language: an id, a digest, an address.
NOT_WORDS = re.compile(
    r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"
    r"|\b(?=[a-f]*\d)[0-9a-f]{8,}\b"
    r"|(?<!\w)/[\w./<>:-]*"
)
# What has one name in every language; Django itself writes the last three.
NAMES = frozenset(
    {
        "Charge once",
        "English",
        "API",
        "GET",
        "POST",
        "SKU",
        "UTC",
        "UUID",
        "EUR",
        "USD",
        "ASCII",
        "application/json",
        "application/problem+json",
        "Location",
        "Retry-After",
        "Idempotency-Key",
        "TEA",
        "Green tea",
        "alice",
        "bob",
        "boss",
        "carol",
        "clerk",
        "clerks",
        "dave",
        "True",
        "False",
        "Search",
    }
)

SILENT = frozenset({"script", "style", "code", "pre"})
SPOKEN = frozenset({"title", "aria-label", "placeholder", "alt"})
BUTTONS = frozenset({"submit", "button", "reset"})


class _Reader(HTMLParser):
    """Collects what a page shows: texts, hints, and what is written on buttons."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.silent += tag in SILENT
        given = dict(attrs)
        self.texts += [value for name, value in attrs if name in SPOKEN and value]
        if tag == "input" and given.get("type") in BUTTONS:
            self.texts.append(given.get("value") or "")

    def handle_endtag(self, tag: str) -> None:
        self.silent -= tag in SILENT

    def handle_data(self, data: str) -> None:
        if not self.silent:
            self.texts.append(data)


def texts(html: str) -> Iterator[str]:
    """Yield each text that a page shows, white space made even."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    for text in reader.texts:
        if even := " ".join(text.split()):
            yield even


def is_untranslated(text: str, *, names: Iterable[str] = ()) -> bool:
    """Say whether a text is words, and none of them Chinese; names are no words."""
    if CHINESE.search(text):
        return False
    longest_first = sorted(NAMES.union(names), key=len, reverse=True)
    name = "|".join(re.escape(name) for name in longest_first)
    left = NOT_WORDS.sub(" ", re.sub(rf"(?<![A-Za-z])(?:{name})(?![A-Za-z])", " ", text))
    return WORD.search(left) is not None


def untranslated(html: str, *, names: Iterable[str] = ()) -> list[str]:
    """Return the texts of a page that a reader of Chinese would find in English."""
    names = tuple(names)
    return [text for text in texts(html) if is_untranslated(text, names=names)]


def chinese(html: str) -> list[str]:
    """Return the texts of a page that a reader of English would find in Chinese."""
    return [text for text in texts(html) if CHINESE.search(text) and text != "简体中文"]
