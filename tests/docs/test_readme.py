"""The example in idempotency/README.md, lifted into a fresh Django project with nothing else."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.live import another_database

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "idempotency" / "README.md").read_text()

SETTINGS = """
import environ
DATABASES = {"default": environ.Env().db_url("DATABASE_URL")}
SECRET_KEY = "x"
ROOT_URLCONF = "urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "rest_framework", "refunds"]
REST_FRAMEWORK = {"DEFAULT_AUTHENTICATION_CLASSES":
                  ["rest_framework.authentication.BasicAuthentication"]}
"""
USE = """
import django
django.setup()
from django.contrib.auth.models import User
from rest_framework.test import APIClient
from refunds.models import Refund
client = APIClient()
client.force_authenticate(User.objects.create_user("reader"))

def post(amount, key):
    headers = {"Idempotency-Key": key} if key else {}
    return client.post("/refunds/", {"amount": amount}, format="json", headers=headers)

first, second = post(5, "k"), post(5, "k")
assert (first.status_code, second.status_code) == (201, 201), (first, second)
assert first.content == second.content and second["Idempotent-Replayed"] == "true"
assert post(5, None).status_code == 400
assert post(6, "k").status_code == 422
assert post(-1, "other").status_code == 400 and post(7, "other").status_code == 201
token = client.post("/tokens/").json()["token"]
assert [post(8, token).status_code for _ in range(2)] == [201, 201]
assert sorted(Refund.objects.values_list("amount", flat=True)) == [5, 7, 8]
"""


@pytest.mark.django_db(transaction=True)
def test_the_readmes_example_works_in_a_fresh_project(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "idempotency", tmp_path / "idempotency")
    for name, added, code in re.findall(
        r"```python\n# file: (\S+)( \(add\))?\n(.*?)```", README, re.DOTALL
    ):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        (file.parent / "__init__.py").touch()
        file.write_text(SETTINGS + code if added else code)
    assert (tmp_path / "refunds" / "views.py").exists()
    with another_database("readme") as url:
        environment = os.environ | {
            "DATABASE_URL": url,
            "DJANGO_SETTINGS_MODULE": "settings",
            "PYTHONPATH": str(tmp_path),
        }
        for command in (
            ["-m", "django", "makemigrations", "refunds"],
            ["-m", "django", "makemigrations", "--check", "idempotency"],
            ["-m", "django", "migrate"],
            ["-W", "error", "-c", USE],
        ):
            ran = subprocess.run(
                [sys.executable, *command],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert ran.returncode == 0, ran.stdout + ran.stderr
