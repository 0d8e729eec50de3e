"""Copies of the project, where a mutant's file can be changed: the project itself never is."""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.mutants import in_source
from tests.mutants.mutant import SourceMutant

ROOT = Path(__file__).resolve().parents[2]
NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv*", "var", "build", "__pycache__", ".*_cache", ".hypothesis", ".schemathesis"
)
# What a test may depend on; a reason for a survivor changes nothing.
COUNTED = frozenset({".py", ".html", ".css", ".js", ".json", ".po", ".toml", ".txt", ".md"})
NOT_COUNTED = frozenset({"survivors.toml"})


def copied(root: Path, tree: Path) -> Path:
    """Return a copy of the project, which uses the environment of the first."""
    shutil.copytree(root, tree, ignore=NOT_COPIED, symlinks=True)
    if (root / ".venv").exists():
        (tree / ".venv").symlink_to((root / ".venv").resolve())
    return tree


def state(tree: Path) -> str:
    """Return a digest of a copy: results of another state don't count."""
    digest = hashlib.sha256()
    for file in sorted(tree.rglob("*")):
        inside = file.relative_to(tree)
        counts = file.suffix in COUNTED and file.name not in NOT_COUNTED
        if counts and inside.parts[0] != ".venv" and file.is_file():
            digest.update(str(inside).encode() + file.read_bytes())
    return digest.hexdigest()[:16]


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
