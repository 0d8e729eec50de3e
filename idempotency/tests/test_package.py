"""The distribution: what the wheel holds, and what importing it asks for."""

import ast
import gettext
import shutil
import subprocess
import sys
import tarfile
import zipfile
from io import BytesIO
from pathlib import Path

import pytest

import idempotency
from idempotency.tests.processes import PACKAGE

# And what imports these: spectacular, urls.
ONLY_WITH_DRF = {"drf.py", "drf_tokens.py", "drf_views.py"}
MARKS: dict[str, None] = dict.fromkeys(("_", "gettext", "gettext_lazy"))
ALLOWED_IMPORTS = {
    *sys.stdlib_module_names,
    "django",
    "django_stubs_ext",  # for type checkers alone
    "drf_spectacular",
    "idempotency",
    "psycopg",
    "rest_framework",
}


extract = pytest.importorskip("babel.messages.extract").extract
Metadata = pytest.importorskip("packaging.metadata").Metadata
read_po = pytest.importorskip("babel.messages.pofile").read_po


def modules() -> list[Path]:
    """Return the modules of the package, without its tests and what builds it."""
    found = [path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py")]
    return [path for path in found if path.parts[0] not in {"tests", "hatch_build.py", "build"}]


def metadata(wheel: Path) -> bytes:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return archive.read(name)


def test_the_wheel_holds_the_app_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    info = f"django_idempotency-{idempotency.__version__}.dist-info"
    messages = {f"locale/zh_Hans/LC_MESSAGES/django.{kind}" for kind in ("po", "mo")}
    expected = {str(module) for module in modules()} | messages | {"py.typed"}

    assert {name for name in names if not name.startswith(info)} == {
        f"idempotency/{name}" for name in expected
    }
    assert f"{info}/licenses/LICENSE" in names
    assert wheel.name == f"django_idempotency-{idempotency.__version__}-py3-none-any.whl"


def test_the_wheel_imports_nothing_of_another_app(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        sources = [archive.read(name) for name in archive.namelist() if name.endswith(".py")]
    nodes = [node for source in sources for node in ast.walk(ast.parse(source))]
    imported = {
        alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names
    }
    imported |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}

    assert {name.partition(".")[0] for name in imported} <= ALLOWED_IMPORTS


def test_the_messages_are_compiled_into_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        compiled = archive.read("idempotency/locale/zh_Hans/LC_MESSAGES/django.mo")
    assert gettext.GNUTranslations(BytesIO(compiled)).gettext("tombstone") == "墓碑记录"


def test_every_message_of_the_sources_has_its_chinese_and_no_other_is_left() -> None:
    extracted = {
        message
        for module in modules()
        for _, message, _, _ in extract("python", BytesIO((PACKAGE / module).read_bytes()), MARKS)
    }
    with (PACKAGE / "locale/zh_Hans/LC_MESSAGES/django.po").open("rb") as po:
        translated = {message.id: message.string for message in read_po(po) if message.id}

    assert translated.keys() == extracted
    assert all(translated.values())


def test_the_metadata_is_valid_and_names_versions_and_extras(wheel: Path) -> None:
    found = Metadata.from_email(metadata(wheel), validate=True)  # as an index does at an upload
    required = {str(each) for each in found.requires_dist or []}

    assert (found.name, str(found.version)) == ("django-idempotency", idempotency.__version__)
    assert found.requires_python == ">=3.11"
    assert {each for each in required if "extra" not in each} == {"django>=5.2", "psycopg>=3.2"}
    assert set(found.provides_extra or []) == {"celery", "drf", "ninja", "spectacular"}
    assert found.license_expression == "MIT"
    assert "Typing :: Typed" in (found.classifiers or [])
    assert found.description_content_type == "text/markdown"
    assert (found.description or "").startswith("# django-idempotency")


def test_the_sdist_carries_sources_tests_and_messages_to_compile(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}

    assert {str(module) for module in modules()} <= names
    assert {"LICENSE", "CHANGELOG.md", "README.md", "py.typed", "pyproject.toml"} <= names
    assert {"hatch_build.py", "tests/test_package.py"} <= names
    assert [name for name in names if "LC_MESSAGES" in name] == [
        "locale/zh_Hans/LC_MESSAGES/django.po"
    ]


def test_no_module_but_the_adapters_mentions_rest_framework() -> None:
    mentioning = {
        str(module) for module in modules() if "rest_framework" in (PACKAGE / module).read_text()
    }
    assert mentioning == ONLY_WITH_DRF


WITHOUT_EXTRAS = """
import sys
from django.conf import settings
settings.configure(INSTALLED_APPS=["idempotency"], SECRET_KEY="x", DATABASES={"default": {
    "ENGINE": "django.db.backends.postgresql", "NAME": "none"}})
import django; django.setup()
import idempotency
for name in idempotency.__all__:
    getattr(idempotency, name)
import idempotency.views, idempotency.purge, idempotency.signals, idempotency.tokens
idempotency.idempotent()(lambda request: None)
for name in ("rest_framework", "ninja", "celery", "drf_spectacular"):
    assert name not in sys.modules, name
print(idempotency.__file__)
"""


def run(code: str, *, path: Path, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={"PYTHONPATH": str(path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_core_imports_neither_rest_framework_nor_any_other_extra(tmp_path: Path) -> None:
    run(WITHOUT_EXTRAS, path=PACKAGE.parent, folder=tmp_path)


def test_a_copy_of_the_folder_works_as_the_package_does(tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path / "idempotency", ignore=shutil.ignore_patterns("tests"))
    assert run(WITHOUT_EXTRAS, path=tmp_path, folder=tmp_path).startswith(str(tmp_path))


def test_what_is_public_is_listed_in_the_package_itself() -> None:
    assert all(hasattr(idempotency, name) for name in idempotency.__all__)
    documented = idempotency.__doc__ or ""
    for module in ("errors", "signals", "views", "urls", "tokens", "purge"):
        assert f"`{module}`" in documented
        assert (PACKAGE / f"{module}.py").exists()
