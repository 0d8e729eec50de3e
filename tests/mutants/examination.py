"""To try a mutant: run the tests that may notice it, until one fails."""

import queue
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from tests.mutants import selection, suites, trees
from tests.mutants.control import Control
from tests.mutants.databases import Server
from tests.mutants.mutant import DatabaseMutant, Mutant, NotApplied
from tests.mutants.results import ERROR, KILLED, SURVIVED, Result, Results


@dataclass(frozen=True)
class Examiner:
    """Tries mutants, in as many copies of the project as there are workers."""

    server: Server
    control: Control
    results: Results
    state: str
    copies: list[Path]

    def examine_all(self, mutants: list[Mutant]) -> None:
        """Try each, and write down what became of it."""
        idle: queue.Queue[int] = queue.Queue()
        for worker in range(len(self.copies)):
            idle.put(worker)
        killers = self.results.killers()

        def examine(mutant: Mutant) -> None:
            worker = idle.get()
            try:
                result = self.examine(mutant, worker, killers.get(mutant.name, ""))
            finally:
                idle.put(worker)
            self.results.add(result)
            show(result)

        with ThreadPoolExecutor(len(self.copies)) as pool:
            try:
                list(pool.map(examine, mutants))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def examine(self, mutant: Mutant, worker: int, killer: str = "") -> Result:
        """Try one mutant; one that could not be applied is an error, not a survivor."""
        began = time.monotonic()
        try:
            by = self._killed_by(mutant, worker, killer)
            outcome = KILLED if by else SURVIVED
        except NotApplied as error:
            by, outcome = str(error), ERROR
        seconds = round(time.monotonic() - began, 1)
        return Result(mutant.name, self.state, outcome, by, seconds)

    def _killed_by(self, mutant: Mutant, worker: int, killer: str) -> str:
        """Return the test that fails without the guard, or ""."""
        with ExitStack() as stack:
            clones: dict[suites.Suite, str] = {}
            if not isinstance(mutant, DatabaseMutant):
                stack.enter_context(trees.without(self.copies[worker], mutant))
            for tests in selection.rounds(mutant, self.control, killer):
                suite = suites.suite_of(tests[0])
                if isinstance(mutant, DatabaseMutant) and suite not in clones:
                    clone = self.server.mutated(suite, mutant, worker)
                    clones[suite] = stack.enter_context(clone)
                job = suites.Job(tests, clones.get(suite, ""), mutant.name if clones else "")
                ran = suites.run(suite, self.copies[worker], job)
                if not ran.passed:
                    return ran.by
        return ""


def show(result: Result) -> None:
    """Print a result, on a line."""
    by = f" by {result.by}" if result.outcome == KILLED else f" {result.by}"
    print(f"{result.outcome:8} {result.seconds:5.1f} s  {result.mutant}{by}", flush=True)  # noqa: T201
