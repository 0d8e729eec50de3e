"""README.md and its Chinese sibling name what the code has, all of it and nothing else."""

import ast
import importlib
import re
from dataclasses import fields
from pathlib import Path

import pytest
from django.dispatch import Signal

import idempotency
from idempotency import conf, signals
from idempotency.tests.processes import PACKAGE

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
    assert listed == {each for each, value in vars(signals).items() if type(value) is Signal}


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


GUIDES = sorted((PACKAGE.parent / "docs" / "idempotency").glob("*.md"))


@pytest.mark.parametrize("guide", GUIDES, ids=[guide.stem for guide in GUIDES])
def test_the_python_of_a_guide_parses_and_imports_what_there_is(guide: Path) -> None:
    for block in re.findall(r"```python\n(.*?)```", guide.read_text(encoding="utf-8"), re.DOTALL):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("idempotency."):
                module = importlib.import_module(str(node.module))
                assert all(hasattr(module, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module == "idempotency":
                for alias in node.names:
                    public = {
                        *idempotency.__all__,
                        *re.findall(r"`(\w+)`", idempotency.__doc__ or ""),
                    }
                    assert alias.name in public


@pytest.mark.parametrize("guide", GUIDES, ids=[guide.stem for guide in GUIDES])
def test_the_links_of_a_guide_lead_somewhere(guide: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", guide.read_text(encoding="utf-8")):
        assert (guide.parent / link).exists(), link


@BOTH
def test_the_links_of_the_readme_lead_somewhere(name: str) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", text(name)):
        assert not GUIDES or (PACKAGE / link).exists(), link
