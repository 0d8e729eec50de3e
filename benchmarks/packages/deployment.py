"""A contender as it would be deployed, and what the checks do to it: requests, faults, look-ups."""

import os
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import psycopg
import urllib3

from benchmarks.packages.catalogue import LEASE_SECONDS, OURS, Configuration, Contender
from benchmarks.packages.servers import ROOT, Gunicorn, Redis, database, installed
from benchmarks.packages.verdicts import Charge, Reply

ALICE, BOB = "alice-" + "a" * 34, "bob-" + "b" * 36


class Deployment:
    """What the checks work on: requests in, charges out, faults between."""

    def __init__(self, contender: Contender, configuration: Configuration, server: Any) -> None:
        self.contender, self.configuration, self.server = contender, configuration, server

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            python = installed(self.contender)
            self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="compare-")))
            self.faults = self.folder / "faults"
            self.faults.mkdir()
            shared = ["benchmarks"] + (["idempotency"] if self.contender is OURS else [])
            for name in shared:  # and nothing else of this repository can be imported
                (self.folder / name).symlink_to(ROOT / name)
            number = self.contender.configurations.index(self.configuration)
            name = f"compare_{self.contender.module}_{number}"
            url = stack.enter_context(database(self.server, name))
            self.redis = stack.enter_context(Redis(self.folder))
            environment = self._environment(url)
            prepare = [python, "-m", "benchmarks.packages.prepare"]
            subprocess.run(prepare, cwd=self.folder, env=environment, check=True)
            self.database = stack.enter_context(psycopg.connect(url, autocommit=True))
            self.gunicorns = [
                stack.enter_context(Gunicorn(python, self.folder, environment)) for _ in range(2)
            ]
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._stack.__exit__(*exception)

    def _environment(self, url: str) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(self.folder),
            "PYTHONDONTWRITEBYTECODE": "1",
            "COMPARE_CONTENDER": self.contender.module,
            "COMPARE_CONFIGURATION": self.configuration.name,
            "COMPARE_DATABASE_URL": url,
            "COMPARE_REDIS_URL": self.redis.url,
            "COMPARE_FAULTS": str(self.faults),
            "COMPARE_LEASE_SECONDS": str(LEASE_SECONDS),
            "COMPARE_SESSION_SECONDS": os.environ.get("COMPARE_SESSION_SECONDS", "0"),
            "COMPARE_TOKENS": f"{ALICE} {BOB}",
        }

    def send(self, key: str, amount: int, *, to: int = 0, token: str = ALICE) -> Reply:
        """Post a charge to the first or the second gunicorn, on a connection of its own."""
        url = f"http://127.0.0.1:{self.gunicorns[to].port}/charges/"
        headers = {
            "Authorization": f"Token {token}",
            self.contender.header: key,
            "Connection": "close",
        }
        try:
            response = urllib3.request(
                "POST", url, json={"amount": amount}, headers=headers, retries=False, timeout=50
            )
        except urllib3.exceptions.HTTPError:
            return Reply(0)
        return Reply(response.status, response.data)

    def log(self) -> str:
        """Return what the servers wrote, for a failure that needs an explanation."""
        return "".join(each.log.read_text()[-4000:] for each in self.gunicorns)

    def charges(self) -> list[Charge]:
        """Return the charges that are committed, oldest first."""
        rows = self.database.execute("SELECT id, account, amount FROM charge ORDER BY id")
        return [Charge(*row) for row in rows]

    def forget_charges(self) -> None:
        """Start a check without the charges and the armed faults of the one before."""
        self.database.execute("TRUNCATE charge")
        for file in self.faults.iterdir():
            file.unlink()

    def arm(self, point: str, fault: str, *, times: int = 1) -> None:
        """Have the next passages of a failpoint `kill` the worker, raise an `error`, or `hold`."""
        for number in range(times):
            (self.faults / f"{point}.{number}.{fault}").touch()

    def hits(self, point: str) -> list[int]:
        """Return the process ids of those whom an armed fault really met."""
        files = self.faults.glob(f"{point}.*.hit")
        return [int(text) for file in files if (text := file.read_text())]

    def release(self, point: str) -> None:
        """Let those go on who are held at a failpoint, and disarm it."""
        (self.faults / f"{point}.released").touch()

    def lose_records(self) -> None:
        """Empty where the package keeps its records, and see that they are gone."""
        where = self.configuration.records
        if where == "redis":
            assert self.redis.size() > 0, "there is no record to lose"
            self.redis.__exit__()
            self.redis.__enter__()
            assert self.redis.size() == 0
        elif where == "memory":
            for gunicorn in self.gunicorns:
                before = gunicorn.process.pid
                gunicorn.__exit__()
                gunicorn.__enter__()
                assert gunicorn.process.pid != before
        elif where != "none":
            assert self._rows(where) > 0, "there is no record to lose"
            self.database.execute(f"TRUNCATE {where} CASCADE".encode())
            assert self._rows(where) == 0

    def _rows(self, table: str) -> int:
        row = self.database.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
        return int(row[0]) if row else 0
