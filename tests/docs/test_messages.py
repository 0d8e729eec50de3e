"""Every message has its Chinese, and the compiled catalogues are those that were written."""

import gettext
import re
from pathlib import Path
from typing import Any

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.pofile import read_po

from tests.docs.documents import ROOT

CATALOGUES = sorted(ROOT.glob("*/locale/zh_Hans/LC_MESSAGES/django.po"))


def written(path: Path) -> Catalog:
    with path.open("rb") as file:
        return read_po(file)


def compiled(path: Path) -> dict[Any, str]:
    """Return what a .mo says, by message, or by message and form where it depends on a number."""
    with path.open("rb") as file:
        messages: dict[Any, str] = vars(gettext.GNUTranslations(file))["_catalog"]
        return {key: text for key, text in messages.items() if key}  # its header has an empty one


def as_compiled(message: Message) -> dict[Any, str]:
    """Return what a .mo must say for a message, in the words of `gettext`."""
    context = f"{message.context}\x04" if message.context else ""
    if isinstance(message.id, str):
        return {context + message.id: str(message.string or "")}
    return {(context + message.id[0], form): text for form, text in enumerate(message.string or ())}


def test_every_room_that_speaks_to_people_has_messages_in_chinese() -> None:
    code = [*ROOT.glob("[a-z]*/**/*.py"), *ROOT.glob("[a-z]*/**/*.html")]
    marked = re.compile(r"gettext|\{% (?:block)?translate ")
    rooms = {path.relative_to(ROOT).parts[0] for path in code if marked.search(path.read_text())}
    assert rooms - {"tests"} >= {"idempotency", "lab", "operations", "orders", "payments", "shop"}
    assert {path.parents[3].name for path in CATALOGUES} == rooms - {"tests"}
    assert sum(len(written(path)) > 20 for path in CATALOGUES) >= 7


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
