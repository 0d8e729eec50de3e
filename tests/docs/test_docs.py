"""The documents say what the code does."""

import re
from typing import Any

import pytest
from django.core.management import load_command_class
from rest_framework.test import APIClient

from idempotency import errors
from operations.audit import RULES
from operations.restoring import report
from operations.restoring.comparison import Kind
from simulator.report import HEADINGS, HEADINGS_WITH_PROXY
from simulator.scenarios import SCENARIOS
from tests.docs.documents import ALL, ROOT, first_columns, links, tables
from web.catalogue import CATALOGUE

CONTRACT = ALL["docs/contract.md"]
CALLS = re.findall(
    r"^\| `(GET|POST|DELETE) ([^`]+)`( \(key\))? \| (.*) \|$", CONTRACT, re.MULTILINE
)
PROBLEMS = re.findall(r"^\| (\d{3}) \| `([a-z-]+)` \|", CONTRACT, re.MULTILINE)
# What any operation may return, and the key's own refusals: documented once, not in every row.
COMMON = {"400", "401", "403", "404", "406", "411", "413", "415", "503"}
OF_THE_KEY = {"409", "410", "422", "429"}


def in_both_languages(name: str) -> pytest.MarkDecorator:
    """Run a test for a document and for its Chinese version."""
    names = [name, name.replace(".md", ".zh-CN.md")]
    return pytest.mark.parametrize("document", [ALL[each] for each in names], ids=names)


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


@pytest.mark.parametrize(("method", "path", "key", "responses"), CALLS)
def test_a_call_returns_the_statuses_that_the_contract_names(
    method: str, path: str, key: str, responses: str, schema: Any
) -> None:
    operation = schema["paths"][f"/api/v1/{path}"][method.lower()]
    named = set(re.findall(r"(?:^|; )(\d{3})\b", responses))
    served = set(operation["responses"])
    assert named <= served
    assert served - named <= COMMON | (OF_THE_KEY if key else set())
    parameters = {parameter["name"] for parameter in operation.get("parameters", ())}
    assert ("Idempotency-Key" in parameters) is bool(key)


@pytest.mark.parametrize(("status", "slug"), PROBLEMS)
def test_a_problem_of_the_contract_has_its_status_and_a_meaning(status: str, slug: str) -> None:
    refusals = {
        refusal.slug: refusal
        for refusal in vars(errors).values()
        if isinstance(refusal, type) and issubclass(refusal, errors.Refusal)
    }
    assert slug in CATALOGUE
    if slug != "temporarily-unavailable":
        assert refusals[slug].status == int(status)


def test_every_refusal_of_the_key_is_in_the_contract() -> None:
    documented = {slug for _, slug in PROBLEMS}
    assert {slug for slug in CATALOGUE if slug.startswith("idempotency-")} <= documented


def test_every_invariant_has_a_rule_in_the_audit() -> None:
    numbered = re.findall(r"^(\d)\. ", CONTRACT.partition("## Invariants")[2], re.MULTILINE)
    assert {int(number) for number in numbered} == {number for number, _, _ in RULES}


@in_both_languages("README.md")
def test_the_readme_shows_the_table_that_the_storm_prints(document: str) -> None:
    (table,) = re.findall(r"```text\n( +orders .*?)```", document, re.DOTALL)
    assert all(heading in table for heading in HEADINGS)
    assert all(plan.row in table for plan in SCENARIOS["double_click"])


@in_both_languages("docs/two-systems.md")
def test_two_systems_shows_the_table_that_its_storm_prints(document: str) -> None:
    (table,) = re.findall(r"```text\n[^`]*?( +orders .*?)```", document, re.DOTALL)
    assert all(heading in table for heading in HEADINGS_WITH_PROXY)
    assert all(plan.row in table for plan in SCENARIOS["rpc_retry"])


@in_both_languages("docs/restoring.md")
def test_the_runbook_names_only_options_of_the_command(document: str) -> None:
    parser = load_command_class("operations", "after_restore").create_parser("manage.py", "x")
    options = {option for action in parser._actions for option in action.option_strings}
    commands = re.findall(r"after_restore (--.*)", document)
    named = {option for line in commands for option in re.findall(r"--[a-z-]+", line)}
    assert {"--since", "--log", "--dealt-with"} <= named <= options


def test_the_runbook_says_what_to_do_about_everything_that_the_command_lists() -> None:
    printed = [report.LOST_KEYS, report.DAMAGED, *(kind.value for kind in Kind)]
    rows = {row[0].strip() for table in tables(ALL["docs/restoring.md"]) for row in table}
    assert {text.partition(":")[0] for text in printed} <= rows


def test_every_test_that_the_threat_model_names_is_there() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs/threat-model.md").read_text()))
    tests = [*ROOT.glob("tests/**/test_*.py"), *ROOT.glob("idempotency/tests/test_*.py")]
    there = {name for file in tests for name in re.findall(r"def (test_\w+)", file.read_text())}
    assert len(named) > 20
    assert named <= there


@in_both_languages("docs/configuration.md")
def test_configuration_names_every_variable_that_is_read_from_the_environment(
    document: str,
) -> None:
    code = "".join((ROOT / "config" / name).read_text() for name in ("settings.py", "gunicorn.py"))
    read = set(re.findall(r"""(?:env\.\w+|whole)\(\s*["']([A-Z_]+)["']""", code))
    assert read
    assert {name for name in read if f"`{name}`" not in document} == set()


@in_both_languages("docs/operating.md")
def test_operating_names_every_command_of_manage_py(document: str) -> None:
    commands = {file.stem for file in ROOT.glob("*/management/commands/[a-z]*.py")}
    described = {words[0].split()[0] for words in first_columns(document) if words}
    assert commands
    assert commands - described == set()


@pytest.mark.parametrize("name", ALL)
def test_a_document_links_only_to_files_that_are_there(name: str) -> None:
    folder = (ROOT / name).parent
    local = [link for link in links(ALL[name]) if "://" not in link]
    assert [link for link in local if not (folder / link).exists()] == []


@pytest.mark.parametrize("name", ALL)
def test_a_document_names_only_files_that_are_there(name: str) -> None:
    if name == "CHANGELOG.md":  # it names those of earlier days too
        return
    files = re.findall(r"`([a-z_]+/[\w./-]+\.(?:py|md|html|po|txt))`", ALL[name])
    places = (ROOT, (ROOT / name).parent)
    assert [file for file in files if not any((each / file).exists() for each in places)] == []


@in_both_languages("README.md")
def test_the_readme_is_short(document: str) -> None:
    assert len(document.splitlines()) <= 150


@in_both_languages("README.md")
def test_the_readme_quotes_the_line_where_a_race_is_decided(document: str) -> None:
    (quoted,) = re.findall(r"```python\n(.*?)```", document, re.DOTALL)
    services = (ROOT / "orders" / "services.py").read_text()
    assert quoted in services


def test_make_help_names_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    (phony,) = re.findall(r"^\.PHONY: ((?:.*\\\n)*.*)", makefile, re.MULTILINE)
    targets = set(phony.replace("\\", " ").split())
    assert targets
    assert targets - set(re.findall(r"^## make (\S+)", makefile, re.MULTILINE)) == set()


def test_the_hook_of_ruff_is_the_ruff_of_the_requirements() -> None:
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    (rev,) = re.findall(r"ruff-pre-commit\n +rev: v(\S+)", hooks)
    (locked,) = re.findall(
        r"^ruff==(\S+)", (ROOT / "requirements-dev.txt").read_text(), re.MULTILINE
    )
    assert rev == locked


@pytest.mark.parametrize("name", [name for name in ALL if name.startswith("docs/decisions/")])
def test_a_decision_has_its_parts(name: str) -> None:
    headings = re.findall(r"^## (.*)", ALL[name], re.MULTILINE)
    assert headings[:3] == ["Context", "Decision", "Consequences"]
    assert headings[3].startswith("What was measured")
