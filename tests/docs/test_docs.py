"""The documents say what the code does, and the Chinese ones what the English ones say."""

import gettext
import re
from pathlib import Path
from typing import Any

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.pofile import read_po
from rest_framework.test import APIClient

from idempotency import errors
from operations.audit import RULES
from simulator.report import HEADINGS
from simulator.scenarios import SCENARIOS
from web.catalogue import CATALOGUE

ROOT = Path(__file__).resolve().parents[2]
READMES = {name: (ROOT / name).read_text() for name in ("README.md", "README.zh-CN.md")}
ENGLISH, CHINESE = READMES.values()
FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
IDEOGRAPH = re.compile(r"[\u4e00-\u9fff]")
CATALOGUES = sorted(ROOT.glob("*/locale/zh_Hans/LC_MESSAGES/django.po"))
CONTRACT = (ROOT / "docs" / "contract.md").read_text()
CALLS = re.findall(r"^\| `(GET|POST) ([^`]+)`( \(key\))? \| (.*) \|$", CONTRACT, re.MULTILINE)
PROBLEMS = re.findall(r"^\| (\d{3}) \| `([a-z-]+)` \|", CONTRACT, re.MULTILINE)
# What any operation may answer, and the key's own refusals: told once, not in every row.
COMMON = {"400", "401", "403", "404", "406", "411", "413", "415", "503"}
OF_THE_KEY = {"409", "410", "422"}


@pytest.fixture(scope="module")
def schema() -> Any:
    return APIClient().get("/api/schema/", headers={"Accept": "application/json"}).json()


def test_every_call_of_the_contract_is_in_the_schema_and_the_reverse(schema: Any) -> None:
    documented = {(method.lower(), f"/api/v1/{path}") for method, path, _, _ in CALLS}
    served = {
        (method, path)
        for path, operations in schema["paths"].items()
        for method in operations
        if path.startswith("/api/v1/")
    }
    assert documented == served


@pytest.mark.parametrize(("method", "path", "key", "answers"), CALLS)
def test_a_call_answers_with_the_statuses_that_the_contract_names(
    method: str, path: str, key: str, answers: str, schema: Any
) -> None:
    operation = schema["paths"][f"/api/v1/{path}"][method.lower()]
    named = set(re.findall(r"(?:^|; )(\d{3})\b", answers))
    served = set(operation["responses"])
    assert named <= served
    assert served - named <= COMMON | (OF_THE_KEY if key else set())
    parameters = {parameter["name"] for parameter in operation.get("parameters", ())}
    assert ("Idempotency-Key" in parameters) is bool(key)


@pytest.mark.parametrize(("status", "slug"), PROBLEMS)
def test_a_problem_of_the_contract_has_its_status_and_a_meaning(status: str, slug: str) -> None:
    refusals = {
        refusal.default_code: refusal
        for refusal in vars(errors).values()
        if isinstance(refusal, type) and issubclass(refusal, errors.Refusal)
    }
    assert slug in CATALOGUE
    if slug != "temporarily-unavailable":
        assert refusals[slug].status_code == int(status)


def test_every_refusal_of_the_key_is_in_the_contract() -> None:
    documented = {slug for _, slug in PROBLEMS}
    assert {slug for slug in CATALOGUE if slug.startswith("idempotency-")} <= documented


def test_every_invariant_has_a_rule_in_the_audit() -> None:
    numbered = re.findall(r"^(\d)\. ", CONTRACT.partition("## Invariants")[2], re.MULTILINE)
    assert {int(number) for number in numbered} == {number for number, _, _ in RULES}


@pytest.mark.parametrize("readme", READMES.values(), ids=READMES)
def test_the_readme_shows_the_table_that_the_storm_prints(readme: str) -> None:
    (table,) = re.findall(r"```text\n( +orders .*?)```", readme, re.DOTALL)
    assert all(heading in table for heading in HEADINGS)
    assert all(plan.row in table for plan in SCENARIOS["double_click"])


@pytest.mark.parametrize("readme", READMES.values(), ids=READMES)
def test_the_readme_names_every_variable_that_is_read_from_the_environment(readme: str) -> None:
    code = "".join((ROOT / "config" / name).read_text() for name in ("settings.py", "gunicorn.py"))
    read = set(re.findall(r"""env\.\w+\(\s*["']([A-Z_]+)["']""", code))
    assert read
    assert {name for name in read if f"`{name}`" not in readme} == set()


@pytest.mark.parametrize("readme", READMES.values(), ids=READMES)
def test_the_readme_names_every_command_of_manage_py(readme: str) -> None:
    commands = {file.stem for file in ROOT.glob("*/management/commands/[a-z]*.py")}
    described = {words[0].split()[0] for words in first_columns(readme) if words}
    assert commands
    assert commands - described == set()


@pytest.mark.parametrize("readme", READMES.values(), ids=READMES)
def test_the_readme_links_only_to_files_that_are_there(readme: str) -> None:
    assert [link for link in links(readme) if not (ROOT / link).is_file()] == []


# --- The README in two languages


def sections(readme: str) -> list[str]:
    """Return a README's parts from one heading to the next, without the blocks of code."""
    return re.split(r"^(?=#+ )", FENCE.sub("", readme), flags=re.MULTILINE)[1:]


def blocks(text: str) -> list[str]:
    """Return its headings, paragraphs, points of lists and rows of tables."""
    return re.split(r"\n\n+|\n(?=- |\d\. |\|)", text.strip())


def kind(block: str) -> str:
    """Return what a block begins with that is no word of it; nothing for a paragraph."""
    return re.match(r"(#+ |- |\d\. |\|)?", block)[0]  # type: ignore[index]  # matches anything


def tables(readme: str) -> list[list[list[str]]]:
    """Return each table's rows, its headings and the line below them included, cell by cell."""
    found = re.findall(r"(?:^\|.*\|\n)+", FENCE.sub("", readme), re.MULTILINE)
    return [[row[1:-1].split("|") for row in table.splitlines()] for table in found]


def matrix(readme: str) -> list[list[str]]:
    """Return the lab's rows."""
    (found,) = (table for table in tables(readme) if "[`naive`]" in table[2][0])
    return found[2:]


def code_words(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def first_columns(readme: str) -> list[list[str]]:
    return [code_words(row[0]) for table in tables(readme) for row in table]


def links(readme: str) -> list[str]:
    """Return what is linked to or shown, in order; but for the other language's README."""
    targets = re.findall(r"\]\(([^)]+)\)", FENCE.sub("", readme))
    return [target for target in targets if target not in READMES]


def without_code_and_targets(text: str) -> str:
    return re.sub(r"`[^`]*`|\]\([^)]*\)", "", text)


def test_each_readme_begins_with_a_link_to_the_other() -> None:
    assert ENGLISH.startswith("# Charge once\n\n[简体中文](README.zh-CN.md)\n\n")
    assert CHINESE.startswith("# Charge once\n\n[English](README.md)\n\n")


def test_the_readmes_have_the_same_levels_of_headings() -> None:
    levels = [[kind(section) for section in sections(readme)] for readme in READMES.values()]
    assert len(levels[0]) > 5
    assert levels[1] == levels[0]


def test_the_readmes_have_the_same_blocks_of_code() -> None:
    assert len(FENCE.findall(ENGLISH)) > 5
    assert FENCE.findall(CHINESE) == FENCE.findall(ENGLISH)


def test_the_readmes_have_the_same_links_and_pictures() -> None:
    assert len(links(ENGLISH)) > 5
    assert links(CHINESE) == links(ENGLISH)


def test_the_readmes_have_the_same_paragraphs_points_and_rows_below_each_heading() -> None:
    for english, chinese in zip(sections(ENGLISH), sections(CHINESE), strict=True):
        kinds = [[kind(block) for block in blocks(section)] for section in (english, chinese)]
        assert kinds[1] == kinds[0], blocks(chinese)[0]


def test_the_tables_of_the_readmes_have_the_same_rows_and_columns() -> None:
    sizes = [[[len(row) for row in table] for table in tables(text)] for text in READMES.values()]
    assert len(sizes[0]) > 5
    assert sizes[1] == sizes[0]


def test_a_table_has_the_same_code_words_in_its_first_column_in_both_readmes() -> None:
    assert sum(map(len, first_columns(ENGLISH))) > 20
    assert first_columns(CHINESE) == first_columns(ENGLISH)


def test_the_readmes_have_the_same_matrix_but_for_two_words() -> None:
    cells = "\n".join(map("|".join, matrix(CHINESE)))
    translated = cells.replace("**已拒**", "**refused**").replace("**丢失**", "**lost**")
    assert not IDEOGRAPH.search(translated)
    assert translated.splitlines() == list(map("|".join, matrix(ENGLISH)))


@pytest.mark.parametrize("pattern", [r"`([^`]+)`", r"\d+(?:[.,]\d+)*"], ids=["code", "numbers"])
def test_the_readmes_have_the_same_code_words_and_numbers_below_each_heading(pattern: str) -> None:
    for english, chinese in zip(sections(ENGLISH), sections(CHINESE), strict=True):
        assert set(re.findall(pattern, chinese)) == set(re.findall(pattern, english)), blocks(
            chinese
        )[0]


def test_every_heading_paragraph_and_point_of_the_chinese_readme_is_chinese() -> None:
    texts = [block for section in sections(CHINESE) for block in blocks(section) if block]
    _title, _link, *texts = [text for text in texts if kind(text) != "|"]
    assert len(texts) > 50
    assert [text for text in texts if not IDEOGRAPH.search(without_code_and_targets(text))] == []


def test_every_word_in_the_tables_of_the_chinese_readme_is_chinese() -> None:
    cells = [
        without_code_and_targets(cell).strip()
        for table in tables(CHINESE)
        for row in table
        for cell in row
    ]
    words = [cell for cell in cells if re.search(r"[A-Za-z]{2}", cell) and cell != "SQL"]
    assert [cell for cell in words if not IDEOGRAPH.search(cell)] == []


# --- Messages


def written(path: Path) -> Catalog:
    with path.open("rb") as file:
        return read_po(file)


def compiled(path: Path) -> dict[Any, str]:
    """Return what a .mo says, by message, or by message and form where it depends on a number."""
    with path.open("rb") as file:
        said: dict[Any, str] = vars(gettext.GNUTranslations(file))["_catalog"]
        return {key: text for key, text in said.items() if key}  # its header has an empty one


def as_compiled(message: Message) -> dict[Any, str]:
    """Return what a .mo must say for a message, in the words of `gettext`."""
    context = f"{message.context}\x04" if message.context else ""
    if isinstance(message.id, str):
        return {context + message.id: str(message.string or "")}
    return {(context + message.id[0], form): text for form, text in enumerate(message.string or ())}


def test_every_room_that_speaks_to_people_has_messages_in_chinese() -> None:
    rooms = {"idempotency", "lab", "operations", "orders", "payments", "shop", "web"}
    assert {path.parents[3].name for path in CATALOGUES} == rooms
    assert all(len(written(path)) > 20 for path in CATALOGUES)


@pytest.mark.parametrize("path", CATALOGUES, ids=lambda path: path.parents[3].name)
def test_every_message_is_translated(path: Path) -> None:
    messages = [message for message in written(path) if message.id]
    assert [message.id for message in messages if message.fuzzy] == []
    assert [each.id for each in messages if not all(as_compiled(each).values())] == []


@pytest.mark.parametrize("path", CATALOGUES, ids=lambda path: path.parents[3].name)
def test_the_compiled_messages_are_those_that_were_written_and_no_others(path: Path) -> None:
    expected: dict[Any, str] = {}
    for message in written(path):
        if message.id:
            expected |= as_compiled(message)
    assert compiled(path.with_suffix(".mo")) == expected
