"""The whole matrix, run for real once; and that lab/README.md shows its results."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from lab.expected import EXPECTED
from lab.harness.scenarios import SCENARIOS
from lab.mechanisms import NAMES, runnable
from tests.lab.conftest import REDIS, Manage, need_redis
from tests.support.live import ROOT

OVERCHARGING = ("naive", "look_then_act", "token_select_then_delete", "distributed_transaction")
CLICKS = 10


@pytest.fixture(scope="module")
def finished(manage: Manage, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the report of one run, and the Markdown that it printed."""
    file: Path = tmp_path_factory.mktemp("lab") / "lab.json"
    ran = manage("lab", "--clicks", str(CLICKS), "--markdown", "--json", str(file))
    assert file.exists(), ran.stderr
    report: dict[str, Any] = json.loads(file.read_text())
    return report | {"markdown": ran.stdout, "exit": ran.returncode, "errors": ran.stderr}


def run_here(finished: dict[str, Any]) -> list[str]:
    """Return the mechanisms that can run with what the run had."""
    has = {name: finished[name] for name in ("redis", "second_database")}
    return runnable(NAMES, **has)


def charges(finished: dict[str, Any], scenario: str) -> dict[str, Any]:
    """Return a scenario's charges with each mechanism that was run."""
    return {
        row["mechanism"]: cell["charges"]
        for row in finished["mechanisms"]
        for cell in row["scenarios"]
        if cell["scenario"] == scenario
    }


def test_every_cell_is_as_it_is_written(finished: dict[str, Any]) -> None:
    differing = [
        (row["mechanism"], cell["scenario"], cell["charges"], cell["duplicate_result"])
        for row in finished["mechanisms"]
        for cell in row["scenarios"]
        if not cell["as_expected"]
    ]
    assert differing == []
    assert finished["exit"] == 0, finished["errors"]
    assert finished["ok"]


def test_the_unsafe_ones_charge_for_every_click_and_the_others_once(
    finished: dict[str, Any],
) -> None:
    charged = charges(finished, "double_click")
    assert list(charged) == run_here(finished)
    for mechanism, count in charged.items():
        assert count == (CLICKS if mechanism in OVERCHARGING else 1), mechanism


def test_every_scenario_is_run_with_every_mechanism(finished: dict[str, Any]) -> None:
    for row in finished["mechanisms"]:
        if row["mechanism"] in run_here(finished):
            assert [each["scenario"] for each in row["scenarios"]] == list(SCENARIOS)
            assert row["cost"]["statements"] > 0


def test_the_mechanisms_that_need_redis_are_run_with_a_real_one(finished: dict[str, Any]) -> None:
    need_redis()
    assert finished["redis"]
    assert set(REDIS) <= set(charges(finished, "double_click"))


def test_the_labs_readme_shows_the_matrix_of_a_fresh_run(finished: dict[str, Any]) -> None:
    shown = rows((ROOT / "lab" / "README.md").read_text())
    fresh = rows(finished["markdown"])
    assert list(shown) == list(fresh) == list(NAMES)
    for mechanism in run_here(finished):
        assert shown[mechanism] == fresh[mechanism], mechanism


def rows(markdown: str) -> dict[str, list[str]]:
    """Return the matrix in a text, without its last column: times vary by machine."""
    lines = re.findall(r"^\| \[`(\w+)`\]\(mechanisms/\1\.py\) \|(.*)\|$", markdown, re.MULTILINE)
    return {name: [cell.strip() for cell in cells.split("|")][:-1] for name, cells in lines}


def test_the_run_leaves_no_tables_behind(finished: dict[str, Any], db: None) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(r"SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'lab\_%'")
        assert cursor.fetchone() == (0,)
        cursor.execute("SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()")
        assert cursor.fetchone() == (0,)


@pytest.mark.parametrize("mechanism", NAMES)
def test_every_expected_cell_that_is_not_one_charge_has_a_reason(mechanism: str) -> None:
    row = EXPECTED[mechanism]
    assert set(row.cells) <= set(SCENARIOS)
    for scenario in SCENARIOS:
        cell = row.cell(scenario, clicks=CLICKS)
        assert cell.charges == 1 or cell.reason, scenario


@pytest.mark.parametrize("mechanism", NAMES)
def test_a_mechanism_is_one_screen_that_says_what_it_is_and_where_it_ends(mechanism: str) -> None:
    text = (ROOT / "lab" / "mechanisms" / f"{mechanism}.py").read_text()
    docstring = text.split('"""')[1]
    assert re.search(r"\n\nSource: .+\nStops: .+\nDoes not stop: ", docstring, re.DOTALL)
    assert len(text.splitlines()) <= 60


def test_every_file_beside_the_mechanisms_is_one_of_them() -> None:
    files = {path.stem for path in (ROOT / "lab" / "mechanisms").glob("*.py")}
    assert files == {"__init__", *NAMES}
    assert set(EXPECTED) == set(NAMES)


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_the_labs_readme_links_only_to_files_that_are_there(name: str) -> None:
    folder = ROOT / "lab"
    links = re.findall(r"\]\(([^)]+)\)", (folder / name).read_text())
    assert len(links) > len(NAMES)
    assert [link for link in links if not (folder / link).is_file()] == []
