"""The documents, and what they are made of: parts, blocks, tables, links."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(
    {*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("[a-z]*/README*.md")},
    key=lambda file: (len(file.parents), file),
)
# Each document by its path from the root.
ALL = {str(file.relative_to(ROOT)): file.read_text() for file in FILES}
CHINESE = ".zh-CN.md"
# The documents that are there in both languages, by the English one's path.
IN_BOTH = {
    english: (ALL[english], text)
    for name, text in ALL.items()
    if name.endswith(CHINESE) and (english := name.replace(CHINESE, ".md")) in ALL
}
FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
IDEOGRAPH = re.compile(r"[\u4e00-\u9fff]")


def sections(document: str) -> list[str]:
    """Return a document's parts from one heading to the next, without the blocks of code."""
    return re.split(r"^(?=#+ )", FENCE.sub("", document), flags=re.MULTILINE)[1:]


def blocks(text: str) -> list[str]:
    """Return its headings, paragraphs, points of lists and rows of tables."""
    return re.split(r"\n\n+|\n(?=- |\d\. |\|)", text.strip())


def kind(block: str) -> str:
    """Return what a block begins with that is no word of it; nothing for a paragraph."""
    return re.match(r"(#+ |- |\d\. |\|)?", block)[0]  # type: ignore[index]  # matches anything


def tables(document: str) -> list[list[list[str]]]:
    """Return each table's rows, its headings and the line below them included, cell by cell."""
    texts = re.findall(r"(?:^\|.*\|\n)+", FENCE.sub("", document), re.MULTILINE)
    return [[row[1:-1].split("|") for row in table.splitlines()] for table in texts]


def code_words(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def first_columns(document: str) -> list[list[str]]:
    return [code_words(row[0]) for table in tables(document) for row in table]


def links(document: str) -> list[str]:
    """Return what is linked to or shown, in order."""
    return re.findall(r"\]\(([^)]+)\)", FENCE.sub("", document))


def without_code_and_targets(text: str) -> str:
    return re.sub(r"`[^`]*`|\]\([^)]*\)", "", text)
