"""Hostile headers, paths, bodies and methods against a real server: never a 5xx, never HTML.

`make fuzz` sends many times as many; FUZZ_SEEDS and FUZZ_REQUESTS repeat a run.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from rest_framework.test import APIClient

from operations.audit import check_invariants as audit
from tests.support.api_tokens import api_token_of
from tests.support.live import LiveServer
from tests.support.routes import routes
from tests.surface.conftest import World
from tests.surface.fuzzing import Run, documented_statuses, fuzz
from tests.surface.grammar import Target

SEEDS = os.environ.get("FUZZ_SEEDS", "1").split()
REQUESTS = int(os.environ.get("FUZZ_REQUESTS", "4000"))
SESSIONS = 5
_ARGUMENT = re.compile(r"<(?:\w+:)?(\w+)>")


@pytest.fixture(scope="module")
def _production(
    django_db_setup: None, django_db_blocker: Any, tmp_path_factory: Any
) -> Iterator[LiveServer]:
    """A server as in production, but for HTTPS: no debug pages, no lab."""
    with django_db_blocker.unblock():
        database = connection.get_connection_params()
    folder: Path = tmp_path_factory.mktemp("production")
    server = LiveServer(database=database, folder=folder)
    server.environment |= {
        "DEBUG": "false",
        "HTTPS": "false",
        "SECRET_KEY": settings.SECRET_KEY,
        "ALLOWED_HOSTS": "127.0.0.1",
    }
    with server:
        yield server


@pytest.fixture
def production(_production: LiveServer, transactional_db: None) -> LiveServer:
    return _production


@pytest.fixture
def target(world: World, alice: User) -> Target:
    """Every route but the lab's, and the credentials of a customer and of a superuser."""
    root = User.objects.create_superuser("root")
    token = api_token_of(alice)
    credentials: dict[str, dict[str, str]] = {"nobody": {}, "alice": {"Cookie": _session(alice)}}
    csrf = "x" * 32
    for number in range(SESSIONS):  # several: a form that signs out ends one
        credentials[f"token {number}"] = {"Authorization": f"Token {token}"}
        for user in (alice, root):
            cookie = f"{_session(user)}; csrftoken={csrf}"
            credentials[f"{user} {number}"] = {"Cookie": cookie, "X-CSRFToken": csrf}
    paths = {
        "/" + _ARGUMENT.sub(r"{\1}", route.text).replace("{pk}", "{id}"): world.path(route)
        for route in routes()
        if not route.text.startswith("lab/")
    }
    return Target(paths, credentials)


def _session(user: User) -> str:
    browser = Client()
    browser.force_login(user)
    name = settings.SESSION_COOKIE_NAME
    return f"{name}={browser.cookies[name].value}"


@pytest.fixture
def run(target: Target) -> Run:
    schema = APIClient().get("/api/schema/", headers={"Accept": "application/json"}).json()
    documented = documented_statuses(schema)
    missing = {path for path, _ in documented} - target.paths.keys()
    assert not missing, "each operation is one of the routes"
    return Run(target, documented)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("seed", SEEDS)
def test_no_hostile_request_gets_a_5xx_or_html_from_the_api(
    seed: str, production: LiveServer, run: Run
) -> None:
    fuzz(production.port, run, seed=seed, requests=REQUESTS)

    print(f"\nseed {seed}, {REQUESTS} requests: {run}")  # noqa: T201 - for `make fuzz`
    assert not run.wrong, f"{len(run.wrong)} wrong replies\n" + "\n".join(run.wrong[:10])
    assert run.by_the_server < 0.4 * REQUESTS, "most requests reached the application"
    assert run.without_reply < 0.01 * REQUESTS
    assert len(run.statuses) > 8, "it got in many different ways"
    assert "Traceback" not in production.log.read_text()
    served = urllib3.request("GET", f"{production.url}/api/v1/products/", retries=False)
    assert (served.status, served.json()["results"][0]["sku"]) == (200, "TEA")
    assert not [each for each in audit() if each.breaches]
