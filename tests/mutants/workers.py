"""Processes that have collected a suite and try mutants in forks: an import costs seconds."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from tests.mutants import suites
from tests.mutants.suites import Job, Run, Suite


class Refused(Exception):
    """The mutant can't be a fork, or the tests did not run."""


class Worker:
    """One such process, for one suite in one copy of the project."""

    def __init__(self, suite: Suite, tree: Path) -> None:
        """Start it; it imports and collects while the first job waits."""
        own, its = socket.socketpair()
        command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.mutants.forks"]
        command += [*suites.QUIET, *suites.FAST, "--ds", suite.settings, suite.folder]
        environment = os.environ | {"MUTANTS_SOCKET": str(its.fileno())}
        self._process = subprocess.Popen(
            command,
            cwd=tree,
            env=environment,
            pass_fds=[its.fileno()],
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        its.close()
        self._suite = suite
        self._socket = own
        self._lines = own.makefile("rw")

    def run(self, job: Job, path: str = "", code: str = "") -> Run:
        """Run tests, until one fails, where the functions of a file have other code.

        :raises Refused: no test was run
        """
        details = asdict(job) | {"template": job.template or self._suite.template}
        details |= {"path": path, "code": code}
        self._lines.write(json.dumps(details) + "\n")
        self._lines.flush()
        result = json.loads(self._lines.readline() or '{"refused": "the worker has ended"}')
        if "refused" in result:
            raise Refused(result["refused"])
        return Run(passed=not result["by"], by=result["by"])

    def close(self) -> None:
        """End it."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._lines.close()
        self._socket.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
