"""The user that the server runs as, and programs that are run as this user."""

import contextlib
import os
import pwd
import subprocess
import tempfile
from functools import cached_property
from pathlib import Path
from typing import Any

from embedded_postgres.errors import EmbeddedPostgresError

COMMAND_SECONDS_MAX = 120
ENVIRONMENT = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}


def server_user() -> pwd.struct_passwd:
    """Return the user for a new cluster of root's."""
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise EmbeddedPostgresError("it cannot run as root, and there is no user nobody.")


class ServerAccount:
    """The user that runs the server of a cluster: ours, unless we are root."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @cached_property
    def options(self) -> dict[str, Any]:
        """The options of a subprocess; none if it runs as us. PostgreSQL refuses to run as root."""
        if os.geteuid() != 0:
            return {}
        if self.directory.exists():
            owner = self.directory.stat()
            return {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
        user = server_user()
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}

    def execute(self, *command: str | Path) -> tuple[bool, str]:
        """Run a command as the server's user; return whether it succeeded, and its output."""
        # Into a file: the end of a pipe would not come before the end of the server.
        with tempfile.TemporaryFile() as output:
            try:
                code = subprocess.call(
                    command,
                    **self.options,
                    cwd="/",
                    env=ENVIRONMENT,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    timeout=COMMAND_SECONDS_MAX,
                )
            except (OSError, subprocess.TimeoutExpired) as error:
                return False, str(error)
            output.seek(0)
            return code == 0, output.read().decode(errors="replace").strip()

    def hand_over(self, *paths: Path) -> None:
        """Make the server's user the owner of the paths."""
        if self.options:
            for path in paths:
                os.chown(path, self.options["user"], self.options["group"], follow_symlinks=False)
