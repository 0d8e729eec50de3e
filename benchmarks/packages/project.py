"""What every contender's project shares: the plain settings, the naive effect, the failpoints.

Runs inside a package's own environment and imports nothing of this repository. A contender's file
calls `configure` with the settings that its package asks for, before it imports anything of DRF.
"""

import os
import signal
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import django
from django.conf import settings
from django.db import connection, transaction

CONFIGURATION = os.environ["COMPARE_CONFIGURATION"]
DATABASE_URL = os.environ["COMPARE_DATABASE_URL"]
REDIS_URL = os.environ["COMPARE_REDIS_URL"]
FAULTS = Path(os.environ["COMPARE_FAULTS"])
# Every package's lease or lock, so that a run takes minutes. Their defaults are 30 s and more.
LEASE_SECONDS = int(os.environ["COMPARE_LEASE_SECONDS"])

CHARGE_TABLE = """
CREATE TABLE charge (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account integer NOT NULL,
    amount integer NOT NULL
)
"""


def configure(
    *,
    urls: str,
    apps: tuple[str, ...] = (),
    middleware: tuple[str, ...] = (),
    authentication: str = "rest_framework.authentication.TokenAuthentication",
    **added: Any,
) -> None:
    """Set Django up as an ordinary API project, with what the contender adds.

    :param urls: the module with the `urlpatterns`
    """
    atomic_requests = added.pop("ATOMIC_REQUESTS", False)
    settings.configure(
        SECRET_KEY="not a secret: this project lives for a minute",
        ALLOWED_HOSTS=["127.0.0.1"],
        ROOT_URLCONF=urls,
        USE_TZ=True,
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        DATABASES={"default": _database() | {"ATOMIC_REQUESTS": atomic_requests}},
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "rest_framework",
            "rest_framework.authtoken",
            *apps,
        ],
        MIDDLEWARE=[*middleware],
        REST_FRAMEWORK={
            "DEFAULT_AUTHENTICATION_CLASSES": [authentication],
            "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
            "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
        },
        LOGGING={
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {"console": {"class": "logging.StreamHandler", "level": "ERROR"}},
            "root": {"handlers": ["console"]},
        },
        **added,
    )
    django.setup()


def _database() -> dict[str, Any]:
    url = urlsplit(DATABASE_URL)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": url.hostname,
        "PORT": url.port,
        "USER": url.username,
        "PASSWORD": url.password,
        "NAME": url.path.removeprefix("/"),
        "CONN_MAX_AGE": int(os.environ.get("COMPARE_SESSION_SECONDS", "0")),
    }


def charge(request: Any) -> dict[str, int]:
    """Charge the caller's account, each time it is called: the effect to be protected."""
    account, amount = request.user.pk, request.data["amount"]
    failpoint("entered")
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO charge (account, amount) VALUES (%s, %s) RETURNING id", [account, amount]
        )
        (number,) = cursor.fetchone() or (0,)
    # The moment the charge is there to stay: at once, or when a surrounding transaction commits.
    transaction.on_commit(lambda: failpoint("committed"))
    failpoint("charged")
    return {"charge": number, "account": account, "amount": amount}


def failpoint(point: str) -> None:
    """Do what the first armed file of this point names; `rename` gives it to one process only."""
    for armed in sorted(FAULTS.glob(f"{point}.*")):
        fault, hit = armed.suffix[1:], armed.with_suffix(".hit")
        if fault not in {"kill", "error", "hold"}:
            continue
        try:
            armed.rename(hit)
        except FileNotFoundError:
            continue
        hit.write_text(str(os.getpid()))
        _strike(fault, FAULTS / f"{point}.released")
        return


def _strike(fault: str, released: Path) -> None:
    if fault == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == "error":
        raise RuntimeError("a fault of the comparison")
    while not released.exists():
        time.sleep(0.005)
