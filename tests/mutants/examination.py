"""To try a mutant: run the tests that may notice it, until one fails."""

import queue
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from tests.mutants import selection, suites, trees
from tests.mutants.control import Control
from tests.mutants.databases import Server
from tests.mutants.in_source import mutated
from tests.mutants.mutant import DatabaseMutant, Mutant, NotApplied, SourceMutant
from tests.mutants.results import ERROR, KILLED, SURVIVED, UNDECIDED, Result, Results, result
from tests.mutants.suites import Job, Run, Suite
from tests.mutants.trees import State
from tests.mutants.workers import Refused, Worker

SECONDS_MIN, SLOWER = 60, 3  # of a round of tests: to start it, and times what the control took


@dataclass(frozen=True)
class Examiner:
    """Tries mutants, in as many copies of the project as there are workers."""

    server: Server
    control: Control
    results: Results
    state: State
    copies: list[Path]
    workers: list[dict[Suite, Worker]]
    brief: bool = False

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
            outcome = KILLED if by else UNDECIDED if self.brief else SURVIVED
        except NotApplied as error:
            by, outcome = str(error), ERROR
        seconds = round(time.monotonic() - began, 1)
        return result(mutant.name, self.state, outcome, by, seconds)

    def _killed_by(self, mutant: Mutant, worker: int, killer: str) -> str:
        """Return the test that fails without the guard, or ""."""
        likely = selection.likely(mutant, self.control, killer, brief=self.brief)
        others = [] if self.brief else selection.others(mutant, self.control)
        if isinstance(mutant, DatabaseMutant):
            with ExitStack() as clones:
                run = self._run_database(mutant, worker, clones)
                return _first_failure(run, likely + others)
        in_process = self._run_in_process(mutant, worker)
        if mutant.room == "config":  # it is read once, before there is a fork
            return _first_failure(in_process, likely + others)
        by = _first_failure(self._run_in_fork(mutant, worker), likely)
        in_process_too = likely if mutant.when_imported and not self.brief else []
        return by or _first_failure(in_process, in_process_too + others)

    def _job(self, tests: list[str]) -> Job:
        """Return the job to run tests: without a guard a loop may have no end."""
        usual = sum(self.control.seconds.get(test, 0) for test in tests)
        return Job(tests, seconds_max=int(SECONDS_MIN + SLOWER * usual))

    def _run_database(
        self, mutant: DatabaseMutant, worker: int, stack: ExitStack
    ) -> Callable[[list[str]], Run]:
        clones: dict[Suite, str] = {}

        def run(tests: list[str]) -> Run:
            suite = suites.suite_of(tests[0])
            if suite not in clones:
                clone = self.server.mutated(suite, mutant, worker)
                clones[suite] = stack.enter_context(clone)
            try:
                job = replace(self._job(tests), template=clones[suite], comment=mutant.name)
                return self.workers[worker][suite].run(job)
            except Refused as error:
                raise NotApplied(f"{mutant.name}: {error}") from error

        return run

    def _run_in_fork(self, mutant: SourceMutant, worker: int) -> Callable[[list[str]], Run]:
        """Run tests in a fork, or in a process of their own where a fork can't be the mutant."""
        code = mutated((self.copies[worker] / mutant.path).read_bytes(), mutant).decode()
        in_process = self._run_in_process(mutant, worker)

        def run(tests: list[str]) -> Run:
            try:
                own = self.workers[worker][suites.suite_of(tests[0])]
                return own.run(self._job(tests), mutant.path, code)
            except Refused:
                return in_process(tests)

        return run

    def _run_in_process(self, mutant: SourceMutant, worker: int) -> Callable[[list[str]], Run]:
        copy = self.copies[worker]

        def run(tests: list[str]) -> Run:
            with trees.without(copy, mutant):
                return suites.run(suites.suite_of(tests[0]), copy, self._job(tests))

        return run


def _first_failure(run: Callable[[list[str]], Run], rounds: list[list[str]]) -> str:
    """Run tests, round after round, until one fails; return it, or ""."""
    return next((ran.by for ran in map(run, rounds) if not ran.passed), "")


def show(result: Result) -> None:
    """Print a result, on a line."""
    by = f" by {result.by}" if result.outcome == KILLED else f" {result.by}".rstrip()
    print(f"{result.outcome:8} {result.seconds:5.1f} s  {result.mutant}{by}", flush=True)
