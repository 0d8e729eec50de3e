"""A PostgreSQL of the project's own: the first process that needs it starts it, the last stops it.

<home>/users.lock   shared by every process that uses the server; its only holder may stop it
<home>/start.lock   held by the one process that checks whether the server runs, and starts it
<home>/location     the place: the home or, for root's server, where another user can go
<place>/cluster/    data, password and server.log; made as cluster.new-*, then renamed
<place>/binaries/   a copy of the programs, where the server's user cannot run the wheel's
"""

import atexit
import contextlib
import fcntl
import itertools
import os
import shutil
import threading

from django.db.utils import OperationalError

from embedded_postgres.cluster import ADDRESS, USER
from embedded_postgres.errors import EmbeddedPostgresError
from embedded_postgres.locks import is_at, lock, locked
from embedded_postgres.places import existing_cluster, home, new_cluster, places


class _Use:
    """This process's use of the server, from its first connection to its exit."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._descriptor: int | None = None

    def begin(self) -> None:
        """Start the server unless it runs; once it did, further calls do nothing."""
        with self._mutex:
            if self._descriptor is not None:
                return
            self._descriptor = lock("users.lock", fcntl.LOCK_SH)
            try:
                with locked("start.lock", fcntl.LOCK_EX):
                    (existing_cluster() or new_cluster()).start()
            except BaseException:
                self.end()
                raise

    def end(self) -> None:
        """End the use, and stop the server if no other process uses it."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        try:
            # Unlock first: of two that end at once, the last one to lock gets the lock alone.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if is_at(home() / "users.lock", descriptor) and (cluster := existing_cluster()):
                cluster.stop()
        except BlockingIOError:
            pass  # another process uses it, and will stop it
        finally:
            os.close(descriptor)

    def forget(self) -> None:
        """Make a forked child a process of its own, which neither holds nor releases our lock."""
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
    """Return the server's address and login now; OperationalError if it is down."""
    cluster = existing_cluster()
    if cluster is None or cluster.state() == "stopped":
        raise OperationalError("The embedded PostgreSQL is not running.")
    password = (cluster.directory / "password").read_text()
    port = int(cluster.pid_file()["port"])
    return {"host": ADDRESS, "port": port, "user": USER, "password": password}


def postmaster() -> int | None:
    """Return the running server's process id: the parent of all its processes."""
    cluster = existing_cluster()
    if cluster is None or cluster.state() == "stopped":
        return None
    return int(cluster.pid_file()["pid"])


def dsn(database: str) -> str:
    """Return the postgresql:// address of a database of the running server."""
    login = "{user}:{password}@{host}:{port}".format_map(connection_settings())
    return f"postgresql://{login}/{database}"


def stop() -> None:
    """Stop the server now, even if it is in use."""
    if home().exists():
        with locked("start.lock", fcntl.LOCK_EX):
            if cluster := existing_cluster():
                cluster.stop()


def remove() -> None:
    """Stop the server and delete its data; refused while another process uses it."""
    try:
        with locked("users.lock", fcntl.LOCK_EX | fcntl.LOCK_NB):
            stop()
            made = [home().glob("cluster*"), home().glob("binaries*"), places()[1:]]
            for path in itertools.chain.from_iterable(made):
                shutil.rmtree(path, ignore_errors=True)
            for name in ("location", "start.lock", "users.lock"):
                (home() / name).unlink(missing_ok=True)
            # Still under the lock: whoever waits for it makes a new home, and must see none.
            with contextlib.suppress(OSError):
                home().rmdir()  # not if it holds other files
    except BlockingIOError:
        raise EmbeddedPostgresError("it is in use; end the programs that use it first.") from None
