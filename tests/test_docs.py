"""The documents say what the code does."""

import re
from pathlib import Path
from typing import Any

import pytest
from rest_framework.test import APIClient

from config.audit import RULES
from config.management.commands.simulate import HEADINGS
from config.problems import MEANINGS
from config.simulator import SCENARIOS
from idempotency import errors

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
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
    assert slug in MEANINGS
    if slug != "temporarily-unavailable":
        assert refusals[slug].status_code == int(status)


def test_every_refusal_of_the_key_is_in_the_contract() -> None:
    documented = {slug for _, slug in PROBLEMS}
    assert {slug for slug in MEANINGS if slug.startswith("idempotency-")} <= documented


def test_every_invariant_has_a_rule_in_the_audit() -> None:
    numbered = re.findall(r"^(\d)\. ", CONTRACT.partition("## Invariants")[2], re.MULTILINE)
    assert {int(number) for number in numbered} == {number for number, _, _ in RULES}


def test_the_readme_shows_the_table_that_the_storm_prints() -> None:
    (table,) = re.findall(r"```text\n( +orders .*?)```", README, re.DOTALL)
    assert all(heading in table for heading in HEADINGS)
    assert all(plan.row in table for plan in SCENARIOS["double_click"])


def test_the_readme_names_every_variable_that_is_read_from_the_environment() -> None:
    code = "".join((ROOT / "config" / name).read_text() for name in ("settings.py", "gunicorn.py"))
    read = set(re.findall(r"""env\.\w+\(\s*["']([A-Z_]+)["']""", code))
    assert read
    assert {name for name in read if f"`{name}`" not in README} == set()
