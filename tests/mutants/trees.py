"""Copies of the project, where a mutant's file can be changed: the project itself never is."""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.mutants import in_source
from tests.mutants.mutant import SourceMutant

ROOT = Path(__file__).resolve().parents[2]
NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv*", "var", "build", "__pycache__", ".*_cache", ".hypothesis", ".schemathesis"
)
# What a test may depend on.
COUNTED = frozenset({".py", ".html", ".css", ".js", ".json", ".po", ".toml", ".txt"})
NOT_COUNTED = frozenset({".venv", "mutants"})


def copied(root: Path, tree: Path) -> Path:
    """Return a copy of the project, which uses the environment of the first."""
    shutil.copytree(root, tree, ignore=NOT_COPIED, symlinks=True)
    if (root / ".venv").exists():
        (tree / ".venv").symlink_to((root / ".venv").resolve())
    return tree


@dataclass(frozen=True)
class State:
    """Digests of a copy: a result counts as long as what it depends on is the same.

    :param project: of all but the tests themselves
    :param tests: by file
    """

    project: str
    tests: dict[str, str]

    def of(self, test: str = "") -> str:
        """Return what a test's failure depends on; without a test, what all tests depend on."""
        file = test.partition("::")[0]
        return f"{self.project}-{self.tests.get(file) or _digest(self.tests)}"


def state(tree: Path) -> State:
    """Return the state of a copy."""
    project: dict[str, str] = {}
    tests: dict[str, str] = {}
    for file in sorted(tree.rglob("*")):
        inside = file.relative_to(tree)
        if file.suffix in COUNTED and not NOT_COUNTED & set(inside.parts) and file.is_file():
            digests = tests if file.name.startswith("test_") else project
            digests[str(inside)] = hashlib.sha256(file.read_bytes()).hexdigest()
    return State(_digest(project), tests)


def _digest(digests: dict[str, str]) -> str:
    return hashlib.sha256(repr(sorted(digests.items())).encode()).hexdigest()[:16]


@contextmanager
def without(tree: Path, mutant: SourceMutant) -> Iterator[None]:
    """Take a guard out of a copy for the time of a block.

    :raises NotApplied: the program is the same without it, or none
    """
    file = tree / mutant.path
    code = file.read_bytes()
    file.write_bytes(in_source.mutated(code, mutant))
    try:
        yield
    finally:
        file.write_bytes(code)
