"""The README's quick start: a project started by django-admin, the code typed in, and its use."""

import re
from pathlib import Path

from idempotency.tests.clean import run
from idempotency.tests.processes import PACKAGE

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


EVERY_KIND = {"plain": PLAIN, "rest": REST, "ninja": NINJA, "task": TASK}


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
