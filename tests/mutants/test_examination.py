"""The script on a toy project: it finds the guard that no test misses, and stops where it must."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.mutants import __main__ as script
from tests.mutants import control as controls
from tests.mutants import examination, in_source, suites, trees
from tests.mutants.control import Control, ControlFailed
from tests.mutants.mutant import DatabaseMutant, Edit, NotApplied, SourceMutant
from tests.mutants.results import ERROR, KILLED, SURVIVED, Result, Results, reasons, result
from tests.mutants.workers import Worker
from tests.support.tiers import starts_processes

MODULE = """
LIMIT = "SELECT FROM orders WHERE paid"


def pay(balance, amount):
    if amount > balance:
        raise ValueError
    if amount < 0:
        raise TypeError
    return balance - amount
"""
CHECKS = """
import pytest
from orders.toy import LIMIT, pay


def test_a_payment():
    assert pay(3, 2) == 1


def test_too_much():
    with pytest.raises(ValueError):
        pay(1, 2)


def test_the_limit():
    assert LIMIT.endswith("WHERE paid")
"""
TOY = suites.Suite("toy", "orders/tests", "toy_settings")


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the root of a project of one module and its tests."""
    files = {
        "orders/toy.py": MODULE,
        "orders/tests/test_toy.py": CHECKS,
        "pytest.ini": "[pytest]\n",
    }
    files["orders/__init__.py"] = ""
    files["toy_settings.py"] = "SECRET_KEY = 'toy'"
    for name, text in files.items():
        file = tmp_path / "toy" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'toy'}:{trees.ROOT}")
    monkeypatch.setattr(suites, "SUITES", (TOY,))
    monkeypatch.setattr(suites, "suite_of", lambda test: TOY)
    monkeypatch.setattr(suites, "FAST", ())
    monkeypatch.setattr(controls, "PARALLEL", ())
    return tmp_path / "toy"


@pytest.fixture
def worker(toy: Path) -> Iterator[Worker]:
    worker = Worker(TOY, toy)
    yield worker
    worker.close()


@starts_processes
def test_the_guard_that_no_test_misses_survives(toy: Path, worker: Worker, tmp_path: Path) -> None:
    passed = controls.control(toy, "state", tmp_path / "control")
    found = Results(tmp_path / "results.jsonl")
    state = trees.state(toy)
    server: Any = None
    examiner = examination.Examiner(server, passed, found, state, [toy], [{TOY: worker}])

    examiner.examine_all(list(in_source.mutants_in(toy)))

    outcomes = {each.mutant: (each.outcome, each.by) for each in found.of(state).values()}
    assert outcomes == {
        "orders/toy.py.LIMIT: WHERE paid": (KILLED, "orders/tests/test_toy.py::test_the_limit"),
        "orders/toy.py.pay: if amount > balance": (
            KILLED,
            "orders/tests/test_toy.py::test_too_much",
        ),
        "orders/toy.py.pay: if amount < 0": (SURVIVED, ""),
    }
    assert (toy / "orders" / "toy.py").read_text() == MODULE


@starts_processes
def test_a_control_that_fails_stops_everything(toy: Path, tmp_path: Path) -> None:
    checks = toy / "orders" / "tests" / "test_toy.py"
    checks.write_text(CHECKS + "\n\ndef test_no():\n    assert False\n")

    with pytest.raises(ControlFailed, match="test_no"):
        controls.control(toy, "state", tmp_path)

    assert not (tmp_path / "control-state").exists()


def test_a_run_without_a_passed_control_tries_nothing_and_ends_with_2(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object) -> Control:
        raise ControlFailed("tests/test_x.py::test_x")

    monkeypatch.setattr(script, "FOLDER", tmp_path)
    monkeypatch.setattr(script, "Server", _NoServer)
    monkeypatch.setattr(script, "make_template", lambda *_: None)
    monkeypatch.setattr(script, "discovered", lambda *_: [])
    monkeypatch.setattr(script, "control", fails)
    monkeypatch.setattr(trees, "copied", lambda *_: tmp_path)

    assert script._run(script.parsed([]), tmp_path) == 2
    assert "no mutant was tried: tests/test_x.py::test_x" in capsys.readouterr().out


class _NoServer:
    def drop_all(self) -> None:
        pass


@starts_processes
def test_a_mutant_that_is_not_applied_is_an_error_and_no_survivor(
    toy: Path, worker: Worker, tmp_path: Path
) -> None:
    same = SourceMutant("same", "orders/toy.py", (5, 5), (Edit(0, 1, b" \n"),))
    found = Results(tmp_path / "results.jsonl")
    server: Any = _NotApplying()
    known = Control(seconds={"orders/tests/test_toy.py::test_a_payment": 0.0})
    known.database.update(known.seconds)
    known.lines["orders/toy.py"] = {5: list(known.seconds)}
    state = trees.state(toy)
    examiner = examination.Examiner(server, known, found, state, [toy], [{TOY: worker}])

    examiner.examine_all([same, DatabaseMutant("no trigger", "shop_toy", "toy", "SELECT 1")])

    assert {each.outcome for each in found.of(state).values()} == {ERROR}
    assert script.report(list(found.of(state).values()), set()) == 1


class _NotApplying:
    def mutated(self, *_: object) -> Any:
        raise NotApplied("no trigger: 0 definitions have changed, not one")


@starts_processes
def test_tests_that_are_not_there_are_an_error(toy: Path) -> None:
    with pytest.raises(NotApplied, match="not collected"):
        suites.run(TOY, toy, suites.Job(["orders/tests/test_toy.py::test_no_such"]))


def results_of(**outcomes: str) -> list[Result]:
    return [Result(mutant, "state", outcome) for mutant, outcome in outcomes.items()]


@pytest.mark.parametrize(
    ("outcome", "text", "code"),
    [
        (KILLED, "", 0),
        (SURVIVED, "", 1),
        (SURVIVED, '[[survivor]]\nmutant = "a"\nreason = "it may"', 0),
        (KILLED, '[[survivor]]\nmutant = "a"\nreason = "it may"', 1),
        (KILLED, '[[survivor]]\nmutant = "gone"\nreason = "it may"', 1),
        (ERROR, "", 1),
    ],
)
def test_a_survivor_needs_a_reason_and_a_reason_a_survivor(
    outcome: str, text: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "survivors.toml"
    file.write_text(text)
    monkeypatch.setattr(script, "REASONS", file)

    assert script.report(results_of(a=outcome), {"a"}) == code


def test_a_reason_without_a_word_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "survivors.toml"
    file.write_text('[[survivor]]\nmutant = "a"\nreason = " "')
    with pytest.raises(ValueError, match="one reason"):
        reasons(file)


def test_a_result_counts_until_what_it_depends_on_changes(tmp_path: Path) -> None:
    """A kill depends on the test that failed, a survivor on every test."""
    file = tmp_path / "results.jsonl"
    before = trees.State("project", {"test_a.py": "1", "test_b.py": "1"})
    found = Results(file)
    for mutant, outcome, by in (("a", KILLED, "test_a.py::test_a"), ("b", SURVIVED, "")):
        found.add(result(mutant, before, outcome, by))

    after = trees.State("project", {"test_a.py": "1", "test_b.py": "2"})
    another = trees.State("another project", before.tests)

    reread = Results(file)
    assert set(reread.of(before)) == {"a", "b"}
    assert set(reread.of(after)) == {"a"}
    assert set(reread.of(another)) == set()
    assert reread.killers() == {"a": "test_a.py::test_a"}


def test_the_reasons_in_the_project_can_be_read() -> None:
    assert all(len(reason) > 20 for reason in reasons(script.REASONS).values())
