"""The test suites, and one run of pytest over some tests of one of them."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.mutants.mutant import NotApplied

SECONDS_MAX = 400  # without a guard a loop may have no end
QUIET = ("-p", "no:cacheprovider", "-p", "no:randomly")
FAST = ("-m", "unit or database")
# It names every guard of the schema: it would notice each that goes, whatever the guard did.
LISTS_OF_GUARDS = (
    "tests/database/test_guards.py::test_every_guard_of_the_schema_has_a_refusal_above",
)
NOT_RUN = ("tests/docs/", "tests/mutants/", *LISTS_OF_GUARDS)


@dataclass(frozen=True)
class Suite:
    """Tests with settings of their own.

    :param template: the migrated database that its runs clone
    """

    name: str
    folder: str
    settings: str

    @property
    def template(self) -> str:
        return f"mutants_{self.name}"


PROJECT = Suite("project", "tests", "tests.support.settings")
APP = Suite("idempotency", "idempotency/tests", "idempotency.tests.project.settings")
SUITES = (PROJECT, APP)


def suite_of(test: str) -> Suite:
    """Return the suite that a test belongs to."""
    return APP if test.startswith(APP.folder) else PROJECT


@dataclass(frozen=True)
class Run:
    """What a run came to.

    :param by: the test that failed first, or ""
    """

    passed: bool
    by: str = ""


@dataclass(frozen=True)
class Job:
    """What a run is to do.

    :param tests: in this order; None: all fast ones
    :param template: the database to clone; the suite's by default
    :param comment: that the database must carry
    :param recorded: a folder for the lines that each test runs
    :param seconds_max: how long it may take
    """

    tests: Sequence[str] | None = None
    template: str = ""
    comment: str = ""
    recorded: str = ""
    seconds_max: int = SECONDS_MAX


def run(suite: Suite, tree: Path, job: Job, *options: str) -> Run:
    """Run tests of a suite in a copy of the project, until one fails.

    :raises NotApplied: not these tests ran, or not on this database
    """
    with tempfile.TemporaryDirectory() as folder:
        details = asdict(job) | {"noted": f"{folder}/failed"}
        details["template"] = job.template or suite.template
        Path(folder, "job").write_text(json.dumps(details))
        files = dict.fromkeys(test.partition("::")[0] for test in job.tests or [suite.folder])
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "tests.mutants.plugin"]
        command += [*QUIET, "--ds", suite.settings, *options, *files]
        code, output = _outcome(command, tree, Path(folder), job.seconds_max)
        return _judged(code, output, Path(folder, "failed"))


def _judged(code: int, output: str, failed: Path) -> Run:
    if code == 0:
        return Run(passed=True)
    if code in {1, 2}:
        return Run(passed=False, by=failed.read_text() if failed.exists() else "an import")
    if code == -signal.SIGKILL:
        return Run(passed=False, by="the time limit")
    raise NotApplied(f"pytest ended with {code}:\n{output[-2000:]}")


def _outcome(command: list[str], tree: Path, folder: Path, seconds_max: int) -> tuple[int, str]:
    """Return the exit code and the output; a run that does not end is killed."""
    environment = os.environ | {
        "MUTANTS_JOB": str(folder / "job"),
        "PYTHONDONTWRITEBYTECODE": "1",  # of a file that is changed back within the second
    }
    with (folder / "output").open("w+") as output:
        process = subprocess.Popen(
            command, cwd=tree, env=environment, stdout=output, stderr=output, start_new_session=True
        )
        try:
            code = process.wait(seconds_max)
        except subprocess.TimeoutExpired:
            code = -signal.SIGKILL
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        output.seek(0)
        return code, output.read()
