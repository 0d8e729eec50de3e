"""PgBouncer in transaction mode before the database of the tests' servers: `make test-pooler`."""

import atexit
import functools
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import psycopg

CONFIGURATION = """
[databases]
* = host={host} port={port} user={user} password={password}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own_port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 40
max_client_conn = 1000
server_idle_timeout = 5
"""


def is_wanted() -> bool:
    return os.environ.get("TEST_POOLER") == "true"


def through_pooler(params: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters that lead to a database through the pooler, which this may start."""
    server = tuple(str(params[key]) for key in ("host", "port", "user", "password"))
    return params | {"host": "127.0.0.1", "port": _pooler(*server)}


@functools.cache
def _pooler(host: str, port: str, user: str, password: str) -> int:
    """Return the port of a pooler that ends with this process."""
    from tests.support.live import ends_with_the_run, free_port, until

    folder = Path(tempfile.mkdtemp(prefix="pooler-"))
    folder.chmod(0o755)
    own_port = free_port()
    values = {"host": host, "port": port, "user": user, "password": password}
    ini = folder / "pgbouncer.ini"
    ini.write_text(CONFIGURATION.format(**values, own_port=own_port))
    as_somebody = ["-u", "nobody"] if os.geteuid() == 0 else []
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*ends_with_the_run(), "pgbouncer", *as_somebody, str(ini)], stdout=log, stderr=log
        )
    atexit.register(_stop, process)

    def responds() -> bool:
        try:
            psycopg.connect(host="127.0.0.1", port=own_port, user=user, dbname="postgres").close()
        except psycopg.OperationalError:
            return False
        return True

    until(responds, seconds=10, what=f"PgBouncer responds; its log is {folder}/log")
    return own_port


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
