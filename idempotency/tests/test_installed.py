"""The built wheel in a clean environment: a fresh project, the README typed in, these tests, mypy.

The variables PACKAGE_PYTHON and PACKAGE_DJANGO choose another cell of the matrix.
"""

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from idempotency.tests.clean import clean_environment, run
from idempotency.tests.processes import PACKAGE, database_url
from idempotency.tests.quick_start import EVERY_KIND, PLAIN, check_quick_start, project

# What is about the folder that the wheel is built from, and so not about the wheel.
OF_THE_SOURCES = ("__pycache__", "test_package.py", "test_readme.py", "test_installed.py")
NEEDED_BY_THE_TESTS = ["pytest", "pytest-django", "redis"]
TYPES = ["mypy", "django-stubs", "djangorestframework-stubs"]
WRONG = """

idempotent(require=True)
run_once(scope="events", key=1, call=lambda: 1)
wrong: int = read_key(HttpRequest())
"""


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
    check_quick_start(full, tmp_path, database, EVERY_KIND)


def test_the_quick_start_works_with_a_copy_of_the_folder(database: str, tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path / "idempotency", ignore=shutil.ignore_patterns("tests"))
    project(Path(sys.executable), tmp_path)
    check_quick_start(Path(sys.executable), tmp_path, database, EVERY_KIND)


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
    )
    where = run(full, "-c", "import idempotency; print(idempotency.__file__)", folder=tmp_path)
    assert str(full.parents[1]) in where

    report = run(full, "-m", "pytest", "-x", copied, folder=tmp_path, DATABASE_URL=database)

    assert re.search(r"\d{3} passed", report), report
    skipped = set(re.findall(r"SKIPPED .*?: (.*)", report))
    assert skipped <= {"there is no redis-server: the broker of this test"}, report


def test_a_users_project_is_checked_strictly_against_the_types_of_the_wheel(
    full: Path, tmp_path: Path
) -> None:
    user = (PACKAGE / "tests" / "project" / "typed.py").read_text()
    (tmp_path / "user.py").write_text(user)
    (tmp_path / "wrong.py").write_text(user + WRONG)
    mypy = (full, "-m", "mypy", "--strict", "--no-error-summary")

    assert "error" not in run(*mypy, "user.py", folder=tmp_path)
    with pytest.raises(AssertionError) as found:
        run(*mypy, "wrong.py", folder=tmp_path)
    codes = re.findall(r"wrong\.py:\d+: error: .*\[([a-z-]+)\]$", str(found.value), re.MULTILINE)
    assert codes == ["call-arg", "arg-type", "assignment"], str(found.value)
