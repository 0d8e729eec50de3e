"""Run, stop or remove the embedded PostgreSQL, or print its address."""

import argparse
import contextlib
import signal
import sys

from django.db.utils import OperationalError

from embedded_postgres.errors import EmbeddedPostgresError
from embedded_postgres.server import (
    connection_settings,
    dsn,
    ensure_running,
    remove,
    stop,
)


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _run() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell's background job ignores SIGINT
        signal.signal(number, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        ensure_running()
        _print("PostgreSQL on {host}, port {port}, until Ctrl-C.".format_map(connection_settings()))
        signal.pause()


COMMANDS = {
    "run": (_run, "start the server, and stop it with Ctrl-C"),
    "dsn": (lambda: _print(dsn("shop")), "print the running server's address, with the password"),
    "stop": (stop, "stop the server, even if it is in use"),
    "remove": (remove, "stop the server and delete its data"),
}


def main() -> None:
    """Run a command of the command line."""
    summary = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m embedded_postgres", description=summary)
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
