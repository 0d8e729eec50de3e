"""A pytest plugin: each test is of one tier, found by what it uses and held to it while it runs.

unit       no database, no process
database   the database, no process
processes  starts servers, relays, commands, a PostgreSQL or a Redis
browser    drives a browser, against a server

A test starts processes if it, a fixture of it or a function of the tests that one of these calls
names `subprocess`, or is marked `@starts_processes`: the project's own code may hide it. A process
that a test of the first two tiers starts all the same is an error.
"""

import inspect
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, TypeVar

import pytest

TIERS = {
    "unit": "no database, no process",
    "database": "the database, no process",
    "processes": "starts servers, relays, commands, a PostgreSQL or a Redis",
    "browser": "drives a browser, against a server",
}
DATABASE_FIXTURES = frozenset({"db", "transactional_db", "django_db_setup"})
BROWSER_FIXTURES = frozenset({"chromium"})
STARTS = frozenset({"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system"})
# A test's seconds by its tier, roughly: two workers share the work best if the longest files of it
# come first.
SECONDS = {"unit": 0.01, "database": 0.05, "processes": 0.7, "browser": 1.5}
# More than their number of tests tells.
SECONDS_OF_FILES = {
    "test_frozen_database.py": 90.0,
    "test_full_database.py": 40.0,
    "test_distributed.py": 40.0,
    "test_restoring.py": 40.0,
    "test_serve.py": 20.0,
    "test_simulate.py": 18.0,
    "test_schema.py": 25.0,
    "test_headers.py": 25.0,
    "test_access.py": 15.0,
    "test_matrix.py": 12.0,
}

F = TypeVar("F", bound=Callable[..., Any])

_running: list[str] = []  # the tier of the test that runs now
_marked: set[Callable[..., Any]] = set()


def starts_processes(function: F) -> F:
    """Mark a test, or a function of the tests, that starts processes without showing it."""
    _marked.add(function)
    return function


def pytest_configure(config: pytest.Config) -> None:
    """Name the tiers; let Ctrl-C, which some tests send, end also a background job of a shell."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for tier, meaning in TIERS.items():
        config.addinivalue_line("markers", f"{tier}: {meaning}")
    sys.addaudithook(_refuse_processes)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark a test with its tier, in time for `-m`."""
    item.add_marker(_tier(item))


@pytest.hookimpl(trylast=True)  # after the order was shuffled
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep a file's tests together, and for several workers put those that take longest first."""
    seconds: dict[Path, float] = {}
    for item in items:
        if item.path not in seconds:
            seconds[item.path] = SECONDS_OF_FILES.get(item.path.name, 0)
        seconds[item.path] += SECONDS[tier_of(item)]
    if hasattr(config, "workerinput"):
        places = sorted(seconds, key=lambda path: -seconds[path])
    else:
        places = list(seconds)
    order = {path: number for number, path in enumerate(places)}
    items.sort(key=lambda item: order[item.path])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Hold a test to its tier."""
    _running.append(tier_of(item))
    try:
        return (yield)
    finally:
        _running.pop()


def tier_of(item: pytest.Item) -> str:
    """Return a collected test's tier."""
    return next(mark.name for mark in item.iter_markers() if mark.name in TIERS)


@contextmanager
def processes_allowed() -> Iterator[None]:
    """Let the tests' own equipment start what it needs, such as the database server."""
    _running.append("processes")
    try:
        yield
    finally:
        _running.pop()


def _tier(item: pytest.Item) -> str:
    fixtures = set(getattr(item, "fixturenames", ()))
    if fixtures & BROWSER_FIXTURES:
        return "browser"
    if _starts_processes(item):
        return "processes"
    if fixtures & DATABASE_FIXTURES or item.get_closest_marker("django_db"):
        return "database"
    return "unit"


def _refuse_processes(event: str, _: object) -> None:
    if event in STARTS and _running and _running[-1] in {"unit", "database"}:
        raise RuntimeError(
            f"a test of the tier {_running[-1]} starts a process: mark it @starts_processes"
        )


def _starts_processes(item: pytest.Item) -> bool:
    definitions = item._fixtureinfo.name2fixturedefs.values()  # type: ignore[attr-defined]
    left = [item.function, *(each[-1].func for each in definitions)]  # type: ignore[attr-defined]
    seen: set[object] = set()
    while left:
        function = inspect.unwrap(left.pop())
        if function in seen or not isinstance(function, FunctionType):
            continue
        seen.add(function)
        if function in _marked:
            return True
        for name in _names(function.__code__):
            found = function.__globals__.get(name)
            if name == "subprocess" or found is subprocess:
                return True
            left += _functions_of_tests(found)
    return False


def _names(code: CodeType) -> set[str]:
    inner = (each for each in code.co_consts if isinstance(each, CodeType))
    return set(code.co_names).union(*map(_names, inner))


def _functions_of_tests(found: Any) -> list[Callable[..., Any]]:
    """Return a function of the tests, or a class's; what else there is starts nothing by itself."""
    if isinstance(found, ModuleType) or "tests" not in getattr(found, "__module__", "").split("."):
        return []
    if isinstance(found, type):
        return [each for each in vars(found).values() if isinstance(each, FunctionType)]
    return [found] if callable(found) else []
