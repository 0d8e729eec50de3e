"""The built wheel in a clean environment: a fresh project, the README typed in, these tests, mypy.

PACKAGE_PYTHON names another interpreter, PACKAGE_DJANGO another Django, such as 6.1.
"""

import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from idempotency.tests.processes import PACKAGE, database_url

# What is about the folder that the wheel is built from, and so not about the wheel.
OF_THE_SOURCES = ("__pycache__", "test_package.py", "test_readme.py", "test_installed.py")
NEEDED_BY_THE_TESTS = ["pytest", "pytest-django", "redis"]
TYPES = ["mypy", "django-stubs", "djangorestframework-stubs"]

SETTINGS = """
import os
from psycopg.conninfo import conninfo_to_dict
_named = conninfo_to_dict(os.environ["DATABASE_URL"])
DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": _named["dbname"],
    "USER": _named["user"], "PASSWORD": _named["password"], "HOST": _named["host"],
    "PORT": _named["port"]}}
INSTALLED_APPS += ["refunds"]
ALLOWED_HOSTS = ["*"]
"""
MODELS = """
from django.conf import settings
from django.db import models


class Refund(models.Model):
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT)
    amount = models.PositiveIntegerField()
"""
URLS = """
from django.urls import include, path
from refunds import views

urlpatterns = [path("plain/", views.refund)]
try:
    from refunds import api, operations
except ImportError:
    pass
else:
    urlpatterns += [path("rest/", api.RefundView.as_view()), path("", operations.api.urls),
                    path("", include("idempotency.urls"))]
"""
USE = """
import django
django.setup()
from django.contrib.auth.models import User
from django.test import Client
from refunds.models import Refund
user = User.objects.create_user("reader")
client = Client()
client.force_login(user)

def post(path, amount, key, **more):
    headers = {"Idempotency-Key": key} if key else {}
    return client.post(path, {"amount": amount}, headers=headers, **more)

def check(path, **more):
    before = Refund.objects.count()
    first, second = post(path, 5, "k" + path, **more), post(path, 5, "k" + path, **more)
    assert (first.status_code, second.status_code) == (201, 201), (first, first.content, second)
    assert first.content == second.content and second["Idempotent-Replayed"] == "true"
    assert post(path, 5, None, **more).status_code == 400
    assert post(path, 6, "k" + path, **more).status_code == 422
    assert Client().post(path, headers={"Idempotency-Key": "k" + path}).status_code in (401, 403)
    assert Refund.objects.count() == before + 1
"""
PLAIN = 'check("/plain/")'
REST = """
check("/rest/", content_type="application/json")
invalid = post("/rest/", -1, "other", content_type="application/json")
assert invalid.status_code == 400
assert post("/rest/", 7, "other", content_type="application/json").status_code == 201
token = client.post("/tokens/").json()["token"]
assert [post("/rest/", 8, token).status_code for _ in range(2)] == [201, 201]
assert client.get(f"/keys/{token}/").json()["state"] == "completed"
assert sorted(Refund.objects.values_list("amount", flat=True)) == [5, 7, 8]
"""
NINJA = 'check("/refunds", content_type="application/json")'
TASK = """
from idempotency import errors
from refunds.tasks import refund
first, again = (refund.apply(args=("message-1", user.pk, 5)).get() for _ in range(2))
assert first == again == Refund.objects.get().pk
try:
    refund.apply(args=("message-1", user.pk, 6)).get()
except errors.KeyReused:
    pass
else:
    raise AssertionError("other arguments were accepted")
"""


def run(*command: str | Path, folder: Path, **environment: str) -> str:
    """Run a command, which must succeed, away from this checkout; return what it printed."""
    kept = ("PATH", "HOME", "PIP_", "SSL_", "REQUESTS_", "http", "HTTP", "no_proxy", "LANG")
    inherited = {name: value for name, value in os.environ.items() if name.startswith(kept)}
    done = subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env=inherited | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def clean_environment(folder: Path, *requirements: str) -> Path:
    """Return the interpreter of a new environment that holds these requirements alone."""
    chosen, place = os.environ.get("PACKAGE_PYTHON"), folder / "environment"
    if chosen:
        run(chosen, "-m", "venv", "--without-pip", place, folder=folder)
    else:
        venv.create(place, with_pip=False)
    constraints = folder / "constraints.txt"
    constraints.write_text("\n".join(versions()))
    install = ["install", "--quiet", "--disable-pip-version-check", "-c", str(constraints)]
    python = place / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python)
    run(*pip, *install, *requirements, folder=folder)
    assert "No broken requirements" in run(*pip, "check", folder=folder)
    return python


def versions() -> list[str]:
    """Return the versions that are tested: this environment's, or another Django and the newest."""
    if wanted := os.environ.get("PACKAGE_DJANGO"):
        return [f"Django=={wanted}.*"]
    return [f"{each.name}=={each.version}" for each in distributions() if each.name != "pip"]


@pytest.fixture
def database(django_db_setup: None, django_db_blocker: Any) -> Iterator[str]:
    """The URL of an empty database, named after the tests' own."""

    def execute(statement: str) -> None:
        with django_db_blocker.unblock(), connection.cursor() as cursor:
            cursor.execute(statement)

    name = f"{connection.settings_dict['NAME']}_installed"
    execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    execute(f'CREATE DATABASE "{name}"')
    with django_db_blocker.unblock():
        url = database_url(name)
    yield url
    execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: Any) -> Path:
    """The wheel and a driver, nothing else."""
    return clean_environment(tmp_path_factory.mktemp("bare"), str(wheel), "psycopg[binary]")


@pytest.fixture(scope="module")
def full(wheel: Path, tmp_path_factory: Any) -> Path:
    """The wheel with all its extras, and what these tests need."""
    extras = f"{wheel}[drf,ninja,celery,spectacular]"
    return clean_environment(
        tmp_path_factory.mktemp("full"), extras, "psycopg[binary]", *NEEDED_BY_THE_TESTS, *TYPES
    )


def readme(name: str) -> dict[str, tuple[str, bool]]:
    """Return the README's files by their path: the code, and whether it is added to a file."""
    found = re.findall(
        r"```python\n# file: (\S+)( \(add\))?\n(.*?)```",
        (PACKAGE / name).read_text(encoding="utf-8"),
        re.DOTALL,
    )
    return {path: (code, bool(added)) for path, added, code in found}


def project(python: Path, folder: Path, *, without: tuple[str, ...] = ()) -> None:
    """Start a project, and type the README's quick start in."""
    run(python, "-m", "django", "startproject", "mysite", ".", folder=folder)
    run(python, "-m", "django", "startapp", "refunds", folder=folder)
    settings = folder / "mysite" / "settings.py"
    settings.write_text(settings.read_text() + SETTINGS)
    (folder / "refunds" / "models.py").write_text(MODELS)
    (folder / "mysite" / "urls.py").write_text(URLS)
    for path, (code, added) in readme("README.md").items():
        if path not in without:
            file = folder / path
            file.write_text(file.read_text() + code if added else code)


def check_quick_start(python: Path, folder: Path, database: str, uses: dict[str, str]) -> None:
    environment = {"DATABASE_URL": database, "DJANGO_SETTINGS_MODULE": "mysite.settings"}
    for command in (
        ["makemigrations", "refunds"],
        ["makemigrations", "--check", "idempotency"],
        ["migrate"],
        ["check", "--database", "default"],
    ):
        run(python, "-W", "error", "manage.py", *command, folder=folder, **environment)
    for use in uses.values():
        run(python, "manage.py", "flush", "--no-input", folder=folder, **environment)
        run(python, "-W", "error", "-c", USE + use, folder=folder, **environment)
    purged = run(python, "manage.py", "purge_idempotency_records", folder=folder, **environment)
    assert "0 responses turned into tombstones" in purged


def test_the_quick_start_of_a_plain_view_works_with_the_wheel_alone(
    bare: Path, database: str, tmp_path: Path
) -> None:
    installed = run(bare, "-c", "import idempotency; print(idempotency.__file__)", folder=tmp_path)
    assert installed.startswith(str(bare.parents[1]))
    project(bare, tmp_path, without=("refunds/api.py", "refunds/operations.py", "refunds/tasks.py"))
    check_quick_start(bare, tmp_path, database, {"plain": PLAIN})


def test_the_quick_start_of_every_kind_works_with_the_extras(
    full: Path, database: str, tmp_path: Path
) -> None:
    project(full, tmp_path)
    uses = {"plain": PLAIN, "rest": REST, "ninja": NINJA, "task": TASK}
    check_quick_start(full, tmp_path, database, uses)


def test_the_catalogue_of_messages_is_read_from_the_wheel(bare: Path, tmp_path: Path) -> None:
    code = """
from django.conf import settings
settings.configure(INSTALLED_APPS=["idempotency"], LANGUAGE_CODE="zh-hans", DATABASES={"default": {
    "ENGINE": "django.db.backends.postgresql", "NAME": "none"}})
import django; django.setup()
from idempotency.errors import KeyMissing
print(KeyMissing.title)
"""
    shown = run(bare, "-c", code, folder=tmp_path, PYTHONIOENCODING="utf-8")
    assert re.search("[一-鿿]", shown), shown


def test_these_tests_pass_against_the_installed_wheel(
    full: Path, database: str, tmp_path: Path
) -> None:
    copied = tmp_path / "tests_of_idempotency"
    shutil.copytree(PACKAGE / "tests", copied, ignore=shutil.ignore_patterns(*OF_THE_SOURCES))
    for file in copied.rglob("*.py"):
        code = file.read_text(encoding="utf-8")
        file.write_text(code.replace("idempotency.tests", copied.name), encoding="utf-8")
    (tmp_path / "pytest.ini").write_text(
        f"[pytest]\nDJANGO_SETTINGS_MODULE = {copied.name}.project.settings\npythonpath = .\n"
        "addopts = --import-mode=importlib --strict-markers -ra -q\nfilterwarnings = error\n"
        "markers =\n    processes: starts processes of its own\n"
    )
    where = run(full, "-c", "import idempotency; print(idempotency.__file__)", folder=tmp_path)
    assert str(full.parents[1]) in where

    report = run(full, "-m", "pytest", "-x", copied, folder=tmp_path, DATABASE_URL=database)

    assert re.search(r"\d{3} passed", report), report
    skipped = set(re.findall(r"SKIPPED .*?: (.*)", report))
    assert skipped <= {"there is no redis-server: the broker of this test"}, report


USER = '''
"""A project that uses every public name, checked by `mypy --strict`."""

from collections.abc import Iterable
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views import View
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from idempotency import (
    Claim,
    claim_of,
    claim_of_form,
    idempotent,
    is_in_flight,
    key_digest,
    once,
    preferred_wait,
    read_key,
    replace_provisional,
    respond_once,
    run_once,
    scope_of,
    stored_response,
)
from idempotency import errors, failpoints, purge, signals, tokens
from idempotency.problems import response as problem


def tenant_of(request: Any) -> str:
    return "tenant:1"


@idempotent(scope=tenant_of, serialize_by="order:{order_id}")
def pay(request: HttpRequest, order_id: int) -> HttpResponse:
    return JsonResponse({"order": order_id})


class Refunds(View):
    @idempotent(required=False, scope="shop.tenant_of")
    def post(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse(status=204)


class RestRefunds(APIView):
    @idempotent(fingerprint=lambda request: request.data["amount"])
    def post(self, request: Request) -> Response:
        return Response(status=204)


def form(request: HttpRequest) -> HttpResponse:
    claim: Claim = claim_of_form(request, "k", path="/refunds/", body={"amount": 1})
    try:
        return respond_once(claim, lambda: HttpResponse("done"), wait_seconds=5)
    except errors.Refusal as refusal:
        return problem(refusal)


def others(request: HttpRequest) -> Iterable[str | int | None]:
    key: str | None = read_key(request)
    seconds: int | None = preferred_wait(request)
    stored: HttpResponse | None = stored_response(claim_of(request, subject="order:1"))
    flying: bool = is_in_flight(scope=scope_of(request), subject="order:1")
    replaced: int = replace_provisional("order:1", HttpResponse("paid"))
    yield from (key, seconds, flying, replaced, key_digest("k"))
    yield stored.status_code if stored else None
    token, expires_at = tokens.issue("guest:1")
    yield from (token, expires_at.isoformat(), purge.purge_records(batch=100))


def consume(event_id: str) -> object:
    with once("webhooks", event_id, args={"kind": "paid"}) as claim:
        first: bool = claim.is_first
    return first or run_once(scope="events", key=event_id, call=lambda: 1, args={}, wait_seconds=1)


def receive(sender: object, scope: str, key_digest: str, **_: object) -> None: ...


signals.executed.connect(receive)
failpoints.install(None)
'''
WRONG = (
    USER
    + """

idempotent(require=True)
run_once(scope="events", key=1, call=lambda: 1)
wrong: int = read_key(HttpRequest())
"""
)


def test_a_users_project_is_checked_strictly_against_the_types_of_the_wheel(
    full: Path, tmp_path: Path
) -> None:
    (tmp_path / "user.py").write_text(USER)
    (tmp_path / "wrong.py").write_text(WRONG)
    mypy = (full, "-m", "mypy", "--strict", "--no-error-summary")

    assert "error" not in run(*mypy, "user.py", folder=tmp_path)
    with pytest.raises(AssertionError) as found:
        run(*mypy, "wrong.py", folder=tmp_path)
    codes = re.findall(r"wrong\.py:\d+: error: .*\[([a-z-]+)\]$", str(found.value), re.MULTILINE)
    assert codes == ["call-arg", "arg-type", "assignment"], str(found.value)
