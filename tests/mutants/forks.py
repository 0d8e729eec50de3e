"""A pytest plugin: one process that has imported and collected everything, and a fork for a mutant.

The run sends jobs to MUTANTS_SOCKET, a line each, and gets a line back. In a fork a mutant of
the source is the modules with other code; what decides while it is imported is no fork.
"""

import gc
import json
import os
import select
import signal
import socket
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest

from tests.mutants.living import NotHere, become
from tests.mutants.template import comment

_failed: list[str] = []
_comment: list[str] = []


def pytest_runtestloop(session: pytest.Session) -> bool:
    """Do jobs until there are no more."""
    items = {item.nodeid: item for item in session.items}
    gc.freeze()  # or a collection in a fork copies the memory of all that is imported
    with socket.socket(fileno=int(os.environ["MUTANTS_SOCKET"])) as own:
        lines = own.makefile("rw")
        for line in lines:
            lines.write(_in_fork(json.loads(line), session, items) + "\n")
            lines.flush()
    return True


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note the test that failed first."""
    if report.failed:
        _failed.append(report.nodeid)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Make sure that the database is the mutant's."""
    result = yield
    if fixturedef.argname == "django_db_setup" and _comment and comment(request) != _comment[0]:
        raise NotHere("the database is not the mutant's")
    return result


def _in_fork(job: dict[str, Any], session: pytest.Session, items: dict[str, pytest.Item]) -> str:
    """Do a job in a fork; kill one that does not end."""
    reading, writing = os.pipe()
    if (pid := os.fork()) == 0:
        os.setsid()
        try:
            os.write(writing, json.dumps(_result_of(job, session, items)).encode())
        finally:
            os._exit(0)
    os.close(writing)
    ended = select.select([reading], [], [], job["seconds_max"])[0]
    if not ended:
        os.killpg(pid, signal.SIGKILL)
    result = os.read(reading, 65536).decode() if ended else '{"by": "the time limit"}'
    os.close(reading)
    os.waitpid(pid, 0)
    return result or '{"refused": "the fork has died"}'


def _result_of(
    job: dict[str, Any], session: pytest.Session, items: dict[str, pytest.Item]
) -> dict[str, str]:
    """Return the test that failed first, or why no test was run."""
    from django.db import connections

    try:
        connections["default"].settings_dict["TEST"]["TEMPLATE"] = job["template"]
        _comment[:] = [job["comment"]] if job["comment"] else []
        if job["path"]:
            gc.unfreeze()
            become(Path.cwd() / job["path"], job["code"])
        if missing := [test for test in job["tests"] if test not in items]:
            raise NotHere(f"not collected: {missing[:3]}")
        tests = [items[test] for test in job["tests"]]
        for item, after in zip_longest(tests, tests[1:]):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
            if _failed:
                break
        session._setupstate.teardown_exact(None)
    except BaseException as error:
        if not _failed:
            return {"refused": f"{type(error).__name__}: {error}"}
    return {"by": _failed[0] if _failed else ""}
