"""Which tests a mutant is tried on, those most likely to fail first."""

from collections.abc import Iterator

from tests.mutants import suites
from tests.mutants.control import Control
from tests.mutants.mutant import DatabaseMutant, Mutant, SourceMutant

FIRST = 25  # tests of a first round: most mutants need no second


def likely(
    mutant: Mutant, control: Control, killer: str = "", *, brief: bool = False
) -> list[list[str]]:
    """Return the tests that run a mutant's line, or are named after it, in rounds of one suite.

    :param killer: the test that failed the last time
    :param brief: only those most likely to fail
    """
    tests = _likely(mutant, control)
    first = [killer] if killer in control.seconds else []
    rest = [test for test in tests if test not in first]
    later = rest[FIRST : 3 * FIRST] if brief else rest[FIRST:]
    return [each for part in (first, rest[:FIRST], later) for each in _by_suite(part)]


def others(mutant: Mutant, control: Control) -> list[list[str]]:
    """Return the tests that may notice a mutant all the same, those of its room first.

    Of a room's tests some start processes, whose lines are not recorded.
    """
    tried = set(_likely(mutant, control))
    tests = (test for test in _others(mutant, control) if test not in tried)
    order = sorted(tests, key=lambda test: (_is_elsewhere(test, mutant), control.seconds[test]))
    return list(_by_suite(order))


def _likely(mutant: Mutant, control: Control) -> list[str]:
    if isinstance(mutant, SourceMutant):
        tests = control.running(mutant)
        return sorted(tests, key=lambda test: (_is_elsewhere(test, mutant), control.seconds[test]))
    tests = sorted(control.database, key=lambda test: control.seconds[test])
    named = [test for test in tests if mutant.hint in test]
    return named + [test for test in tests if test not in named and not _is_elsewhere(test, mutant)]


def _others(mutant: Mutant, control: Control) -> set[str]:
    if isinstance(mutant, DatabaseMutant):
        return {test for test in control.database if _has_tables(test, mutant)}
    if mutant.room == "config":
        return set(control.seconds)
    of_file = control.of_file(mutant) if mutant.when_imported else []
    return {*of_file, *(test for test in control.seconds if not _is_elsewhere(test, mutant))}


def _is_elsewhere(test: str, mutant: Mutant) -> bool:
    rooms = (f"tests/{mutant.room}/", "tests/database/", f"{mutant.room}/tests/")
    return not test.startswith(rooms)


def _has_tables(test: str, mutant: DatabaseMutant) -> bool:
    return suites.suite_of(test) is suites.PROJECT or mutant.room == suites.APP.name


def _by_suite(tests: list[str]) -> Iterator[list[str]]:
    """Yield the tests of each suite, that of the first test first."""
    for suite in dict.fromkeys(map(suites.suite_of, tests)):
        yield [test for test in tests if suites.suite_of(test) is suite]
