"""The place of the cluster: the home, or, for root's server, where another user can go."""

import hashlib
import os
import stat
from functools import cache
from pathlib import Path

from embedded_postgres.account import server_user
from embedded_postgres.cluster import Cluster
from embedded_postgres.errors import EmbeddedPostgresError


@cache
def home() -> Path:
    """Return the embedded server's directory: EMBEDDED_POSTGRES_HOME, by default var/postgres."""
    default = Path(__file__).parents[1] / "var" / "postgres"
    return Path(os.environ.get("EMBEDDED_POSTGRES_HOME") or default).resolve()


@cache
def places() -> list[Path]:
    """Return where the cluster may be, the first choice first."""
    if os.geteuid() != 0:
        return [home()]
    name = f"charge-once-{hashlib.sha256(os.fsencode(home())).hexdigest()[:12]}"
    return [home(), Path("/var/lib", name), Path("/var/tmp", name)]  # noqa: S108 - _make_private


def _make_private(cluster: Cluster) -> None:
    """Make a place outside the home; OSError if it cannot be, or is somebody else's."""
    cluster.place.mkdir(mode=0o700, exist_ok=True)
    status = cluster.place.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid not in (0, server_user().pw_uid):
        raise PermissionError("it belongs to somebody else")
    cluster.account.hand_over(cluster.place)


def existing_cluster() -> Cluster | None:
    """Return this home's cluster if there is one."""
    location = home() / "location"
    place = Path(location.read_text()) if location.exists() else home()
    # In a copied or moved checkout the place is not this home's, but the original's.
    cluster = Cluster(place if place in places() else home())
    return cluster if cluster.directory.exists() else None


def new_cluster() -> Cluster:
    """Create this home's cluster in the first place that its user can work in."""
    refusals = []
    for place in places():
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
