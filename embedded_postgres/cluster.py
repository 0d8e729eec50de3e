"""A database cluster on disk, and the PostgreSQL server that runs on it."""

import contextlib
import os
import re
import secrets
import shutil
import socket
import tempfile
import time
from functools import cached_property
from pathlib import Path

from embedded_postgres.account import ServerAccount
from embedded_postgres.binaries import usable_binaries
from embedded_postgres.errors import EmbeddedPostgresError

USER = "shop"
ADDRESS = "127.0.0.1"
TIMEOUT_SECONDS = 60  # of a start, crash recovery included, and of a stop

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
# Given at each start: a cluster of an earlier version has it, too.
START_OPTIONS = "-c max_prepared_transactions=20"
INITDB = [
    *("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
    *("--auth=scram-sha-256", f"--username={USER}", "--no-instructions"),
    *(f"--set={name}={value}" for name, value in SETTINGS.items()),
]

# The lines of postmaster.pid, as PostgreSQL writes them.
PID_FILE = ("pid", "data", "started", "port", "sockets", "address", "memory", "state")

# Log lines of a server that could start a moment later: the processes of one that was killed are
# still ending, or another program opened the port after we had found it free.
TEMPORARY = ("pre-existing shared memory block", "Address already in use")


class Cluster:
    """A database cluster on disk, and the server that runs, or does not run, on it."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.directory = place / "cluster"
        self.data = self.directory / "data"
        self.log = self.directory / "server.log"
        self.account = ServerAccount(self.directory)

    @cached_property
    def binaries(self) -> Path:
        """The folder of the programs."""
        return usable_binaries(self.place, self.account)

    def make(self) -> None:
        """Create the cluster; OSError if the server's user cannot work in this place."""
        # A new name each time: the initdb of a process that was killed may still be running.
        new = Path(tempfile.mkdtemp(prefix="cluster.new-", dir=self.place))
        try:
            password = new / "password"
            password.touch(mode=0o600)
            password.write_text(secrets.token_hex(16))
            self.account.hand_over(new, password)
            self._initdb(new / "data", password)
            new.rename(self.directory)
        finally:  # and whatever a kill has left; its initdb has ended, as it began before ours
            for unfinished in self.place.glob("cluster.new-*"):
                shutil.rmtree(unfinished, ignore_errors=True)

    def _initdb(self, data: Path, password: Path) -> None:
        succeeded, output = self.account.execute("mkdir", data)
        if succeeded:  # else there is no use in a copy of the programs in this place
            options = [f"--pwfile={password}", f"--pgdata={data}"]
            succeeded, output = self.account.execute(self.binaries / "initdb", *INITDB, *options)
        if not succeeded:
            raise OSError(output)

    def pid_file(self) -> dict[str, str]:
        """Return the lines of postmaster.pid by name; the file outlives a killed server."""
        try:
            lines = (self.data / "postmaster.pid").read_text(errors="replace").splitlines()
        except FileNotFoundError:
            lines = []
        return dict(zip(PID_FILE, lines, strict=False))

    def state(self) -> str:
        """Return "stopped", or the running server's state: "starting", "ready", "stopping"."""
        pid_file = self.pid_file()
        if not self._is_server(pid_file.get("pid", "")):
            return "stopped"
        return pid_file.get("state", "starting").strip()

    def _is_server(self, pid: str) -> bool:
        """Return True if this process is the server: after a crash the pid may be another's."""
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
        common = ("-D", self.data, "-w", f"-t{TIMEOUT_SECONDS}")
        return self.account.execute(self.binaries / "pg_ctl", command, *common, *options)

    def start(self) -> None:
        """Return when the server accepts connections; start it if it is not running."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while (state := self.state()) != "ready":
            if time.monotonic() > deadline:
                raise EmbeddedPostgresError(
                    f"{state} for {TIMEOUT_SECONDS} seconds.\n{self._end_of_log()}"
                )
            if state == "stopped":
                self._try_to_start()
            else:
                time.sleep(0.05)

    def _try_to_start(self) -> None:
        self._remove_misleading_pid_file()
        before = self.log.stat().st_size if self.log.exists() else 0
        port = free_port(self._last_port())
        succeeded, output = self._pg_ctl(
            "start", "-l", self.log, "-o", f"-p {port} {START_OPTIONS}"
        )
        if succeeded:
            return
        logged = self._end_of_log(before)
        if not any(line in logged for line in TEMPORARY):
            raise EmbeddedPostgresError(f"it does not start.\n{output}\n{logged}")
        time.sleep(0.2)

    def _remove_misleading_pid_file(self) -> None:
        """Remove a postmaster.pid that would make PostgreSQL mistake a stranger for its server."""
        with contextlib.suppress(OSError, ValueError):
            os.kill(int(self.pid_file().get("pid", 0)), 0)  # 0, for an empty file, succeeds
            (self.data / "postmaster.pid").unlink()

    def _last_port(self) -> int:
        with contextlib.suppress(FileNotFoundError):
            options = (self.data / "postmaster.opts").read_text(errors="replace")
            if port := re.search(r'"-p" "(\d+)"', options):
                return int(port[1])
        return 0

    def _end_of_log(self, since: int = 0) -> str:
        """Return the end of the server's log."""
        with contextlib.suppress(FileNotFoundError):
            return self.log.read_bytes()[since:][-2000:].decode(errors="replace")
        return ""

    def stop(self) -> None:
        """Stop the server in order; a stopped one is left as it is."""
        if self.state() == "stopped":
            return
        succeeded, output = self._pg_ctl("stop", "-m", "fast")
        if not succeeded and self.state() != "stopped":
            raise EmbeddedPostgresError(f"it does not stop.\n{output}\n{self._end_of_log()}")


def free_port(preferred: int) -> int:
    """Return the preferred port if it is free, else any other that is."""
    for port in (preferred, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((ADDRESS, port))
            probe.listen()
            return int(probe.getsockname()[1])
    raise EmbeddedPostgresError(f"no free port on {ADDRESS}.")
