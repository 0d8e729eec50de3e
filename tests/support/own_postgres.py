"""A PostgreSQL of a test's own, with the shop's tables, to be frozen, demoted or filled up."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from embedded_postgres.cluster import ADDRESS, USER, Cluster
from tests.support.live import ROOT, database_url, descendants, is_running, until
from tests.support.tiers import processes_allowed

DATABASE = "shop"


class OwnPostgres:
    """A running cluster beside the tests' own server."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of a connection to its database, by the names of libpq."""
        password = (self.cluster.directory / "password").read_text()
        address = {"host": ADDRESS, "port": self.cluster.pid_file()["port"]}
        return address | {"user": USER, "password": password, "dbname": DATABASE}

    def execute(self, *statements: str, **parameters: str) -> list[Any]:
        """Run statements, each on its own, and return the rows of the last one."""
        with psycopg.connect(**self.parameters | parameters, autocommit=True) as session:
            for statement in statements:
                cursor = session.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def manage(self, *command: str) -> str:
        """Run a command of manage.py on the database, and return its output."""
        settings = {"DEBUG": "true", "DATABASE_URL": database_url(self.parameters)}
        ran = subprocess.run(
            [sys.executable, "manage.py", *command],
            cwd=ROOT,
            env=os.environ | {"DJANGO_SETTINGS_MODULE": "tests.support.settings"} | settings,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    def prepare(self, tablespace: str = "pg_default") -> dict[str, Any]:
        """Create the database with its tables and the demo's data, and return the latter."""
        self.execute(f"CREATE DATABASE {DATABASE} TABLESPACE {tablespace}", dbname="postgres")
        self.manage("migrate", "--verbosity", "0")
        seeded: dict[str, Any] = json.loads(self.manage("seed_demo", "--json"))
        return seeded

    def processes(self) -> list[int]:
        """Return the postmaster and all its processes."""
        postmaster = int(self.cluster.pid_file()["pid"])
        return [postmaster, *descendants(postmaster)]

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop all its processes for the block: the kernel still accepts and acknowledges."""
        stopped: set[int] = set()
        try:
            while left := set(self.processes()) - stopped:  # the postmaster first: no new ones
                for pid in sorted(left):
                    _send(pid, signal.SIGSTOP)
                stopped |= left
            until(lambda: not any(map(_runs, stopped)), what="every process is stopped")
            yield
        finally:
            for pid in stopped:
                _send(pid, signal.SIGCONT)


@contextmanager
def own_postgres(pg_wal: Path | None = None) -> Iterator[OwnPostgres]:
    """Run a new cluster for the block; its write-ahead log is in the folder, if one is given."""
    place = Path(tempfile.mkdtemp(prefix="own-postgres-"))
    cluster = Cluster(place)
    try:
        cluster.account.hand_over(place)
        cluster.make()
        if pg_wal:
            shutil.copytree(cluster.data / "pg_wal", pg_wal, dirs_exist_ok=True)
            cluster.account.hand_over(*pg_wal.rglob("*"))
            shutil.rmtree(cluster.data / "pg_wal")
            (cluster.data / "pg_wal").symlink_to(pg_wal)
        with _running(cluster) as postgres:
            yield postgres
    finally:
        shutil.rmtree(place, ignore_errors=True)


@contextmanager
def standby_of(primary: OwnPostgres) -> Iterator[OwnPostgres]:
    """Run a streaming standby of a server for the block."""
    place = Path(tempfile.mkdtemp(prefix="own-standby-"))
    cluster = Cluster(place)
    known = primary.parameters
    source = " ".join(f"{name}={known[name]}" for name in ("host", "port", "user", "password"))
    backup = ("-D", cluster.data, "-R", "--checkpoint=fast", "-d", source)
    try:
        cluster.account.hand_over(place)
        copied, output = cluster.account.execute("mkdir", cluster.directory)
        assert copied, output
        copied, output = cluster.account.execute(cluster.binaries / "pg_basebackup", *backup)
        assert copied, output
        shutil.copy2(primary.cluster.directory / "password", cluster.directory)
        with _running(cluster) as standby:
            yield standby
    finally:
        shutil.rmtree(place, ignore_errors=True)


@contextmanager
def _running(cluster: Cluster) -> Iterator[OwnPostgres]:
    cluster.start()
    try:
        yield OwnPostgres(cluster)
    finally:
        with processes_allowed():  # a module's last test may be of another tier
            cluster.stop()


@contextmanager
def small_disk(megabytes: int) -> Iterator[Path]:
    """Mount a tmpfs of so many MB, for the server's user, for the block; only root can."""
    if os.geteuid() != 0 or not sys.platform.startswith("linux"):
        _skip("only Linux's root can mount a small disk")
    place = Path(tempfile.mkdtemp(prefix="small-disk-"))
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0700", "tmpfs", str(place)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    try:
        if mounted.returncode != 0:
            _skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
        Cluster(place / "none").account.hand_over(place)
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], capture_output=True, check=False)
        place.rmdir()


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Leave no byte free on a disk for the block."""
    filler = disk / "filler"
    try:
        with pytest.raises(OSError, match="No space left"):
            _write_for_ever(filler)
        yield
    finally:
        filler.unlink()


def _write_for_ever(file: Path) -> None:
    with file.open("wb", buffering=0) as opened:
        while True:
            opened.write(bytes(4096))


def _skip(reason: str) -> None:
    if os.environ.get("SMALL_DISK") == "required":
        pytest.fail(f"SMALL_DISK=required, but {reason}")
    pytest.skip(reason)


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # a session that ended by itself
        os.kill(pid, number)


def _runs(pid: int) -> bool:
    """Return True unless a process is stopped or has ended."""
    return is_running(pid) and "\nState:\tT" not in Path(f"/proc/{pid}/status").read_text()
