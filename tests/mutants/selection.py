"""Which tests a mutant is tried on, those most likely to fail first."""

from collections.abc import Iterator

from tests.mutants import suites
from tests.mutants.control import Control
from tests.mutants.mutant import DatabaseMutant, Mutant, SourceMutant

FIRST = 25  # tests of a first round: most mutants need no second


def rounds(
    mutant: Mutant, control: Control, killer: str = "", *, brief: bool = False
) -> Iterator[list[str]]:
    """Return lists of tests of one suite each: if all pass, the mutant has survived.

    :param killer: the test that failed the last time
    :param brief: only those most likely to fail
    """
    likely = _likely(mutant, control)
    if killer in control.seconds:
        likely = [killer, *(test for test in likely if test != killer)]
    yield from _by_suite(likely[:1] if killer in control.seconds else [])
    begin = 1 if killer in control.seconds else 0
    yield from _by_suite(likely[begin : begin + FIRST])
    if brief:
        yield from _by_suite(likely[begin + FIRST : begin + 3 * FIRST])
        return
    yield from _by_suite(likely[begin + FIRST :])
    tried = set(likely)
    yield from _by_suite([test for test in _others(mutant, control) if test not in tried])


def _likely(mutant: Mutant, control: Control) -> list[str]:
    if isinstance(mutant, SourceMutant):
        tests = control.running(mutant)
        return sorted(tests, key=lambda test: (_is_elsewhere(test, mutant), control.seconds[test]))
    tests = sorted(control.database, key=lambda test: control.seconds[test])
    named = [test for test in tests if mutant.hint in test]
    return named + [test for test in tests if test not in named and not _is_elsewhere(test, mutant)]


def _others(mutant: Mutant, control: Control) -> list[str]:
    """Return the tests that may notice a guard whose line they don't run, the shortest first."""
    if isinstance(mutant, SourceMutant):
        others = list(control.seconds) if mutant.when_imported else []
    else:
        others = [test for test in control.database if _has_tables(test, mutant)]
    return sorted(others, key=lambda test: control.seconds[test])


def _is_elsewhere(test: str, mutant: Mutant) -> bool:
    rooms = (f"tests/{mutant.room}/", "tests/database/", f"{mutant.room}/tests/")
    return not test.startswith(rooms)


def _has_tables(test: str, mutant: DatabaseMutant) -> bool:
    return suites.suite_of(test) is suites.PROJECT or mutant.room == suites.APP.name


def _by_suite(tests: list[str]) -> Iterator[list[str]]:
    for suite in suites.SUITES:
        if own := [test for test in tests if suites.suite_of(test) is suite]:
            yield own
