"""A document in two languages says the same in both, such as README.md and README.zh-CN.md."""

import re
from pathlib import PurePath

import pytest

from tests.docs.documents import (
    ALL,
    CHINESE,
    FENCE,
    IDEOGRAPH,
    IN_BOTH,
    blocks,
    first_columns,
    kind,
    links,
    sections,
    tables,
    without_code_and_targets,
)

each_document = pytest.mark.parametrize(
    ("english", "chinese"), list(IN_BOTH.values()), ids=list(IN_BOTH)
)
# What a line of a diagram begins with that is no word for people.
STROKE = re.compile(r"\s*(?:participant [A-Z]|[A-Z]-+>>[A-Z]|(?:alt|else) \w+|[A-Za-z]+|·)?")


def test_there_is_enough_to_compare() -> None:
    assert {"README.md", "idempotency/README.md", "docs/configuration.md"} <= set(IN_BOTH)
    texts = [english for english, _ in IN_BOTH.values()]
    assert sum(len(sections(text)) for text in texts) > 25
    assert sum(len(FENCE.findall(text)) for text in texts) > 10
    assert sum(len(links(text)) for text in texts) > 20
    assert sum(len(tables(text)) for text in texts) > 5
    assert sum(len(words) for text in texts for words in first_columns(text)) > 50
    assert sum(len(blocks(section)) for text in texts for section in sections(text)) > 100


@pytest.mark.parametrize("name", IN_BOTH)
def test_each_document_begins_with_a_link_to_the_other(name: str) -> None:
    here, there = PurePath(name).name, PurePath(name).name.replace(".md", CHINESE)
    english, chinese = IN_BOTH[name]
    title, own_link, *_ = english.split("\n\n", 2)
    translated, other_link, *_ = chinese.split("\n\n", 2)
    assert title.startswith("# ")
    assert translated.startswith("# ")
    assert (own_link, other_link) == (f"[简体中文]({there})", f"[English]({here})")


def test_the_readmes_have_the_same_title() -> None:
    assert [text.splitlines()[0] for text in IN_BOTH["README.md"]] == ["# Charge once"] * 2


def test_a_chinese_document_has_an_english_one() -> None:
    chinese = {name.replace(CHINESE, ".md") for name in ALL if name.endswith(CHINESE)}
    assert chinese == set(IN_BOTH)


@each_document
def test_the_two_have_the_same_levels_of_headings(english: str, chinese: str) -> None:
    levels = [[kind(section) for section in sections(text)] for text in (english, chinese)]
    assert levels[1] == levels[0]


@each_document
def test_the_two_have_the_same_blocks_of_code(english: str, chinese: str) -> None:
    for block, other in zip(FENCE.findall(english), FENCE.findall(chinese), strict=True):
        if IDEOGRAPH.search(other):  # a diagram
            assert strokes(other) == strokes(block)
        else:
            assert other == block


def strokes(diagram: str) -> list[str]:
    return [STROKE.match(line)[0] for line in diagram.splitlines()]  # type: ignore[index]


@each_document
def test_a_diagram_of_the_chinese_one_is_in_chinese(english: str, chinese: str) -> None:
    diagrams = [block for block in FENCE.findall(chinese) if block.startswith("```mermaid")]
    assert all(IDEOGRAPH.search(diagram) for diagram in diagrams)


@pytest.mark.parametrize("name", IN_BOTH)
def test_the_two_have_the_same_links_and_pictures(name: str) -> None:
    _, *english = links(IN_BOTH[name][0])
    _, *chinese = links(IN_BOTH[name][1])
    assert [link.replace(CHINESE, ".md") for link in chinese] == english


@pytest.mark.parametrize("name", IN_BOTH)
def test_a_chinese_document_links_to_chinese_ones_where_there_are_any(name: str) -> None:
    folder = PurePath(name).parent
    _, *chinese = links(IN_BOTH[name][1])
    assert [link for link in chinese if str(folder / link) in IN_BOTH] == []


@each_document
def test_the_two_have_the_same_paragraphs_points_and_rows_below_each_heading(
    english: str, chinese: str
) -> None:
    for section, other in zip(sections(english), sections(chinese), strict=True):
        kinds = [[kind(block) for block in blocks(text)] for text in (section, other)]
        assert kinds[1] == kinds[0], blocks(other)[0]


@each_document
def test_the_tables_of_the_two_have_the_same_rows_and_columns(english: str, chinese: str) -> None:
    sizes = [[[len(row) for row in table] for table in tables(text)] for text in (english, chinese)]
    assert sizes[1] == sizes[0]


@each_document
def test_a_table_has_the_same_code_words_in_its_first_column_in_both(
    english: str, chinese: str
) -> None:
    assert first_columns(chinese) == first_columns(english)


@each_document
def test_the_two_have_the_same_matrix_but_for_two_words(english: str, chinese: str) -> None:
    cells = "\n".join(map("|".join, matrix(chinese)))
    translated = cells.replace("**已拒**", "**refused**").replace("**丢失**", "**lost**")
    assert not IDEOGRAPH.search(translated)
    assert translated.splitlines() == list(map("|".join, matrix(english)))


def matrix(document: str) -> list[list[str]]:
    """Return the lab's rows, of a document that shows them."""
    rows = [row for table in tables(document) for row in table]
    return [row for row in rows if re.match(r" \[`\w+`\]\((?:lab/)?mechanisms/", row[0])]


@pytest.mark.parametrize("pattern", [r"`([^`]+)`", r"\d+(?:[.,]\d+)*"], ids=["code", "numbers"])
@each_document
def test_the_two_have_the_same_code_words_and_numbers_below_each_heading(
    pattern: str, english: str, chinese: str
) -> None:
    for section, other in zip(sections(english), sections(chinese), strict=True):
        here, there = (
            set(re.findall(pattern, text.replace(CHINESE, ".md"))) for text in (section, other)
        )
        assert there == here, blocks(other)[0]


@each_document
def test_every_heading_paragraph_and_point_of_the_chinese_one_is_chinese(
    english: str, chinese: str
) -> None:
    texts = [block for section in sections(chinese) for block in blocks(section) if block]
    _title, _link, *texts = [text for text in texts if kind(text) != "|"]
    assert texts
    assert [text for text in texts if not IDEOGRAPH.search(without_code_and_targets(text))] == []


@each_document
def test_every_word_in_the_tables_of_the_chinese_one_is_chinese(english: str, chinese: str) -> None:
    cells = [
        without_code_and_targets(cell).strip()
        for table in tables(chinese)
        for row in table
        for cell in row
    ]
    words = [cell for cell in cells if re.search(r"[A-Za-z]{2}", cell) and cell != "SQL"]
    assert [cell for cell in words if not IDEOGRAPH.search(cell)] == []
