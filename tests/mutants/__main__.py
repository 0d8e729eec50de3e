"""Remove each guard of the project, one at a time, and print those that no test misses.

A second run continues the first, until a file of the project or of its tests changes.
"""

import argparse
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path

from tests.mutants import in_database, in_source, results, suites, trees
from tests.mutants.control import ControlFailed, control, make_template
from tests.mutants.databases import Server
from tests.mutants.examination import Examiner
from tests.mutants.mutant import Mutant
from tests.mutants.results import ERROR, KILLED, SURVIVED, UNDECIDED, Results
from tests.mutants.workers import Worker

FOLDER = trees.ROOT / "var" / "mutants"
REASONS = Path(__file__).parent / "survivors.toml"
WORKERS = 2
PASSED, UNEXPLAINED, NOT_RUN = 0, 1, 2


def main(arguments: Sequence[str]) -> int:
    """Return 0: every survivor has a reason; 1: one has none, or an error; 2: no run at all."""
    options = parsed(arguments)
    FOLDER.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(NOT_RUN))
    with (
        (FOLDER / "lock").open("w") as lock,
        tempfile.TemporaryDirectory(prefix="mutants-") as folder,
    ):
        try:
            flock(lock, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            print("Another run is under way.")
            return NOT_RUN
        return _run(options, Path(folder))


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("--only", choices=("database", "source"), help="guards of one kind")
    parser.add_argument("--match", default="", metavar="REGEX", help="mutants whose name matches")
    parser.add_argument("--list", action="store_true", help="list the mutants; try none")
    parser.add_argument(
        "--brief", action="store_true", help="run the likely tests only; the rest is undecided"
    )
    parser.add_argument("--fresh", action="store_true", help="forget earlier results")
    return parser.parse_args(arguments)


def _run(options: argparse.Namespace, folder: Path) -> int:
    began = time.monotonic()
    copies = [trees.copied(trees.ROOT, folder / f"copy{n}") for n in range(WORKERS)]
    state = trees.state(copies[0])
    server = Server()
    try:
        for suite in suites.SUITES:
            make_template(suite, copies[0])
        everything = discovered(server, copies[0])
        mutants = [each for each in everything if chosen(each, options)]
        if options.list:
            print("\n".join(each.name for each in mutants))
            return PASSED
        if options.fresh:
            (FOLDER / "results.jsonl").unlink(missing_ok=True)
        found = Results(FOLDER / "results.jsonl")
        passed = control(copies[0], state.of(), FOLDER)
        print(f"The control passed: {len(passed.seconds)} tests.", flush=True)
        known = found.of(state)
        left = [each for each in mutants if not is_done(known.get(each.name))]
        print(f"{len(mutants)} mutants, {len(left)} of them to try.", flush=True)
        with workers_in(copies) as workers:
            examiner = Examiner(server, passed, found, state, copies, workers, options.brief)
            examiner.examine_all(left)
    except ControlFailed as error:
        print(f"The control failed, so no mutant was tried: {error}")
        return NOT_RUN
    finally:
        server.drop_all()
    print(f"{time.monotonic() - began:.0f} s")
    names = {each.name for each in everything}
    latest = found.of(state)
    return report([latest[each.name] for each in mutants if each.name in latest], names)


@contextmanager
def workers_in(copies: list[Path]) -> Iterator[list[dict[suites.Suite, Worker]]]:
    """Have a worker for each suite in each copy for the time of a block."""
    with ExitStack() as stack:
        workers = []
        for copy in copies:
            own = {suite: Worker(suite, copy) for suite in suites.SUITES}
            for worker in own.values():
                stack.callback(worker.close)
            workers.append(own)
        yield workers


def discovered(server: Server, tree: Path) -> list[Mutant]:
    """Return every mutant of the project."""
    with server.connect(suites.PROJECT.template) as session:
        guards = in_database.catalogue(session)
    return [*in_database.mutants_in(guards), *in_source.mutants_in(tree)]


def chosen(mutant: Mutant, options: argparse.Namespace) -> bool:
    """Return True if the options ask for a mutant."""
    kind = "source" if hasattr(mutant, "path") else "database"
    return options.only in {None, kind} and bool(re.search(options.match, mutant.name))


def is_done(known: results.Result | None) -> bool:
    """Return True if a mutant need not be tried."""
    return known is not None and known.outcome in {KILLED, SURVIVED}


def report(found: list[results.Result], names: set[str]) -> int:
    """Print what survived, what has no reason and what went wrong; return the exit code."""
    reasons = results.reasons(REASONS)
    counts = Counter(each.outcome for each in found)
    print(", ".join(f"{number} {outcome}" for outcome, number in sorted(counts.items())))
    bad = {
        "survived, and nothing says why it may": results.unexplained(found, reasons),
        "could not be tried": [e.mutant for e in found if e.outcome == ERROR],
        "undecided by the likely tests": [e.mutant for e in found if e.outcome == UNDECIDED],
        "has a reason, but is no survivor": results.stale(found, reasons, names),
    }
    for what, mutants in bad.items():
        for mutant in mutants:
            print(f"{what}: {mutant}")
    return UNEXPLAINED if any(bad.values()) else PASSED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
