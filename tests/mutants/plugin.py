"""A pytest plugin for one mutant: runs the named tests in the named order, on a mutant's database.

The job is a JSON file that MUTANTS_JOB names. A run without one, or one whose database or tests are
not those of the job, ends with an error: it would show nothing.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import coverage
import pytest

from tests.mutants.template import comment

JOB = json.loads(Path(os.environ["MUTANTS_JOB"]).read_text())
NOT_THE_JOB = 70  # an exit code that pytest has no meaning for


class Recorder:
    """Which test ran which lines, and how long it took: read by the tests to come."""

    def __init__(self, folder: str) -> None:
        root = str(Path.cwd())
        self.file = Path(folder) / f"{os.getpid()}.json"
        self.tests: dict[str, dict[str, Any]] = {}
        self.coverage = coverage.Coverage(
            data_file=None, config_file=False, source=[root], omit=["*/tests/*", "*/.venv/*"]
        )
        self.coverage.start()

    def tier(self, item: pytest.Item) -> None:
        names = [mark.name for mark in item.iter_markers()]
        self.tests[item.nodeid] = {"seconds": 0.0, "database": "database" in names}

    def write(self) -> None:
        self.coverage.stop()
        data = self.coverage.get_data()
        root = Path.cwd()
        lines = {
            str(Path(file).relative_to(root)): data.contexts_by_lineno(file)
            for file in data.measured_files()
        }
        self.file.write_text(json.dumps({"tests": self.tests, "lines": lines}))


RECORDER = Recorder(JOB["recorded"]) if JOB.get("recorded") else None


def pytest_sessionstart() -> None:
    """Have Django clone the job's database instead of making one."""
    from django.db import connections

    if JOB["template"]:
        connections["default"].settings_dict["TEST"]["TEMPLATE"] = JOB["template"]


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    """Leave the tests of the job, in its order."""
    yield
    if (wanted := JOB["tests"]) is None:
        return
    collected = {item.nodeid: item for item in items}
    if missing := [name for name in wanted if name not in collected]:
        pytest.exit(f"not collected: {missing[:3]}", NOT_THE_JOB)
    items[:] = [collected[name] for name in wanted]


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Make sure that the database is the mutant's."""
    result = yield
    is_made = fixturedef.argname == "django_db_setup" and JOB["comment"]
    if is_made and comment(request) != JOB["comment"]:
        pytest.exit("the database is not the mutant's", NOT_THE_JOB)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[Any]:
    """Record the lines that a test runs as its own."""
    if RECORDER:
        RECORDER.tier(item)
        RECORDER.coverage.switch_context(item.nodeid)
    return (yield)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note the test that failed first."""
    if RECORDER and report.nodeid in RECORDER.tests:
        RECORDER.tests[report.nodeid]["seconds"] += report.duration
    if report.failed and not (noted := Path(JOB["noted"])).exists():
        noted.write_text(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write down what was recorded, where tests ran."""
    distributes = session.config.getoption("numprocesses", None)
    if RECORDER and (hasattr(session.config, "workerinput") or not distributes):
        RECORDER.write()
