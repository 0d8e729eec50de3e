"""To try a mutant: run the tests that may notice it, until one fails."""

import queue
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.mutants import selection, suites, trees
from tests.mutants.control import Control
from tests.mutants.databases import Server
from tests.mutants.in_source import mutated
from tests.mutants.mutant import DatabaseMutant, Mutant, NotApplied, SourceMutant
from tests.mutants.results import ERROR, KILLED, SURVIVED, Result, Results, result
from tests.mutants.suites import Job, Run, Suite
from tests.mutants.trees import State
from tests.mutants.workers import Refused, Worker


@dataclass(frozen=True)
class Examiner:
    """Tries mutants, in as many copies of the project as there are workers."""

    server: Server
    control: Control
    results: Results
    state: State
    copies: list[Path]
    workers: list[dict[Suite, Worker]]

    def examine_all(self, mutants: list[Mutant]) -> None:
        """Try each, and write down what became of it."""
        idle: queue.Queue[int] = queue.Queue()
        for worker in range(len(self.copies)):
            idle.put(worker)
        killers = self.results.killers()

        def examine(mutant: Mutant) -> None:
            worker = idle.get()
            try:
                found = self.examine(mutant, worker, killers.get(mutant.name, ""))
            finally:
                idle.put(worker)
            self.results.add(found)
            show(found)

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
        return result(mutant.name, self.state, outcome, by, seconds)

    def _killed_by(self, mutant: Mutant, worker: int, killer: str) -> str:
        """Return the test that fails without the guard, or ""."""
        with ExitStack() as stack:
            clones: dict[Suite, str] = {}
            for tests in selection.rounds(mutant, self.control, killer):
                suite = suites.suite_of(tests[0])
                if isinstance(mutant, SourceMutant):
                    ran = self._run_source(mutant, worker, tests)
                else:
                    if suite not in clones:
                        clone = self.server.mutated(suite, mutant, worker)
                        clones[suite] = stack.enter_context(clone)
                    ran = self._run_database(mutant, worker, tests, clones[suite])
                if not ran.passed:
                    return ran.by
        return ""

    def _run_database(
        self, mutant: DatabaseMutant, worker: int, tests: list[str], clone: str
    ) -> Run:
        job = Job(tests, clone, mutant.name)
        try:
            return self.workers[worker][suites.suite_of(tests[0])].run(job)
        except Refused as error:
            raise NotApplied(f"{mutant.name}: {error}") from error

    def _run_source(self, mutant: SourceMutant, worker: int, tests: list[str]) -> Run:
        """Run tests in a fork where that can be the mutant, else in a process of their own."""
        suite, copy, job = suites.suite_of(tests[0]), self.copies[worker], Job(tests)
        code = mutated((copy / mutant.path).read_bytes(), mutant)
        if not mutant.when_imported:
            with suppress(Refused):
                return self.workers[worker][suite].run(job, mutant.path, code.decode())
        with trees.without(copy, mutant):
            return suites.run(suite, copy, job)


def show(result: Result) -> None:
    """Print a result, on a line."""
    by = f" by {result.by}" if result.outcome == KILLED else f" {result.by}".rstrip()
    print(f"{result.outcome:8} {result.seconds:5.1f} s  {result.mutant}{by}", flush=True)
