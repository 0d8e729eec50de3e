"""The control: the copy with all its guards, which must pass every test that a mutant is tried on.

It records which test runs which line, so that a mutant is tried on the tests that run its line.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tests.mutants import suites
from tests.mutants.mutant import SourceMutant

SECONDS_MAX = 3600
PARALLEL = ("-n", "2", "--dist", "loadfile", "--no-loadscope-reorder")


class ControlFailed(Exception):
    """A test fails with all guards in place: what a mutant does would show nothing."""


@dataclass
class Control:
    """What the control recorded.

    :param seconds: of each test
    :param database: the tests that use a database
    :param lines: by file and line, the tests that run it
    """

    seconds: dict[str, float] = field(default_factory=dict)
    database: set[str] = field(default_factory=set)
    lines: dict[str, dict[int, list[str]]] = field(default_factory=dict)

    def running(self, mutant: SourceMutant) -> list[str]:
        """Return the tests that run a mutant's line, or what uses it, or any line of its file."""
        places = mutant.users if mutant.when_imported else (mutant.lines,)
        found = self._running(mutant.path, places)
        return found or (self.of_file(mutant) if mutant.when_imported else [])

    def of_file(self, mutant: SourceMutant) -> list[str]:
        """Return the tests that run any line of a mutant's file."""
        return self._running(mutant.path, ((0, sys.maxsize),))

    def _running(self, path: str, places: Iterable[tuple[int, int]]) -> list[str]:
        found = {
            test
            for line, tests in self.lines.get(path, {}).items()
            if any(first <= line <= last for first, last in places)
            for test in tests
        }
        return [test for test in self.seconds if test in found]

    def add(self, recorded: dict[str, dict[str, dict[str, list[str]]]]) -> None:
        """Add what one process of the control recorded."""
        for test, facts in recorded["tests"].items():
            if not test.startswith(suites.NOT_RUN):
                self.seconds[test] = float(facts["seconds"])  # type: ignore[arg-type]
                self.database |= {test} if facts["database"] else set()
        for file, lines in recorded["lines"].items():
            of_file = self.lines.setdefault(file, {})
            for line, tests in lines.items():
                of_file[int(line)] = of_file.get(int(line), []) + tests


def control(tree: Path, state: str, folder: Path) -> Control:
    """Run every fast test on the copy; the second time for one state, read what that came to.

    :raises ControlFailed: a test fails
    """
    passed = folder / f"control-{state}"
    if not passed.exists():
        for old in folder.glob("control-*"):
            shutil.rmtree(old)
        recorded = folder / f"control-{state}.part"
        recorded.mkdir(parents=True)
        for suite in suites.SUITES:
            job = suites.Job(recorded=str(recorded), seconds_max=SECONDS_MAX)
            left_out = [f"--deselect={each}" for each in suites.NOT_RUN]
            ran = suites.run(suite, tree, job, *PARALLEL, *suites.FAST, *left_out)
            if not ran.passed:
                raise ControlFailed(ran.by)
        recorded.rename(passed)
    found = Control()
    for file in sorted(passed.glob("*.json")):
        found.add(json.loads(file.read_text()))
    return found


def make_template(suite: suites.Suite, tree: Path) -> None:
    """Make the migrated database that the runs of a suite clone."""
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": suite.settings}
    command = [sys.executable, "-m", "tests.mutants.template", suite.template]
    subprocess.run(command, cwd=tree, env=environment, check=True)
