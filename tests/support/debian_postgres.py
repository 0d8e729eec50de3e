"""A server of Debian's PostgreSQL for the length of a block, beside the embedded one's newer."""

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
USER = "matrix"


@contextmanager
def debian_postgres(initdb: Path) -> Iterator[str]:
    """Yield the URL of a new cluster's first database; the cluster goes with the block."""
    account = "postgres" if os.geteuid() == 0 else None  # a server refuses to run as root
    place = Path(tempfile.mkdtemp(prefix="matrix-"))
    try:
        password, port = secrets.token_hex(16), _free_port()
        (place / "password").write_text(password)
        if account:
            for path in (place / "password", place):
                shutil.chown(path, account, account)

        def run(program: str, *options: str) -> None:
            command = [str(initdb.with_name(program)), "-D", str(place / "data"), *options]
            subprocess.run(
                command,
                check=True,
                cwd=place,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                user=account,
                group=account,
            )

        run(
            "initdb", f"--username={USER}", f"--pwfile={place / 'password'}", "--auth=scram-sha-256"
        )
        settings = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories="
        settings += " -c max_connections=300 -c fsync=off"
        run("pg_ctl", "-w", "-l", str(place / "log"), "-o", settings, "start")
        try:
            yield f"postgresql://{USER}:{password}@127.0.0.1:{port}/postgres"
        finally:
            run("pg_ctl", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
