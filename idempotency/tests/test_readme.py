"""README.md and its Chinese sibling name what the code has, all of it and nothing else."""

import re
from dataclasses import fields

import pytest

import idempotency
from idempotency import conf, signals
from idempotency.tests.support import PACKAGE, needs_the_sources

pytestmark = needs_the_sources

BOTH = pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])


def text(name: str) -> str:
    return (PACKAGE / name).read_text(encoding="utf-8")


def first_cells(name: str) -> list[str]:
    """Return the code in the first cell of every row of every table."""
    return re.findall(r"^\| `([^`]+)`", text(name), re.MULTILINE)


@BOTH
def test_the_settings_of_the_table_are_those_of_the_code(name: str) -> None:
    settings = [field.name for field in fields(conf.Settings)]
    listed = [cell for cell in first_cells(name) if cell.isupper()]
    described = re.findall(r":param (\w+):", conf.Settings.__doc__ or "")
    assert listed == settings == described


@BOTH
def test_the_checks_of_the_table_are_those_of_the_code(name: str) -> None:
    source = (PACKAGE / "checks.py").read_text()
    listed = [cell for cell in first_cells(name) if cell.startswith("idempotency.")]
    assert listed == sorted(set(re.findall(r'id="(idempotency\.\w+)"', source)))


@BOTH
def test_the_signals_of_the_table_are_those_of_the_code(name: str) -> None:
    listed = {cell for cell in first_cells(name) if hasattr(signals, cell)}
    assert listed == {
        each for each, value in vars(signals).items() if type(value) is signals.Signal
    }


@BOTH
def test_the_public_names_are_those_of_the_package(name: str) -> None:
    heading = {"README.md": "## Public names", "README.zh-CN.md": "## 公开名称"}[name]
    paragraph = text(name).partition(heading)[2].strip().partition("\n\n")[0]
    listed = set(re.findall(r"`([a-zA-Z_]+)`", paragraph))
    documented = re.findall(r"`(\w+)`", idempotency.__doc__ or "")
    assert listed == {*idempotency.__all__, *documented}


def test_both_languages_have_the_same_code_and_the_same_tables() -> None:
    blocks = [
        re.findall(r"```\w+\n.*?```", text(name), re.DOTALL)
        for name in ("README.md", "README.zh-CN.md")
    ]
    pythons = [[block for block in each if "mermaid" not in block] for each in blocks]
    assert pythons[0] == pythons[1]
    assert first_cells("README.md") == first_cells("README.zh-CN.md")
