"""What a mutant is: the project without one of its guards."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar


class NotApplied(Exception):
    """The guard is still there, or more than it is gone: such a run would show nothing."""


@dataclass(frozen=True)
class DatabaseMutant:
    """A guard of the database, and the statements that take it away.

    :param table: which it guards
    :param hint: what the names of its tests have in them, most likely
    """

    name: str
    table: str
    hint: str
    statements: str

    @property
    def room(self) -> str:
        return self.table.partition("_")[0]


@dataclass(frozen=True)
class Edit:
    """Bytes of a file to replace."""

    start: int
    end: int
    text: bytes = b""


@dataclass(frozen=True)
class SourceMutant:
    """A guard in a file, and the edits that take it away.

    :param lines: where it stands
    :param when_imported: whether it takes effect as the module is imported, not as a line runs
    :param users: then, the functions and classes of the file that it takes effect in, by lines
    """

    name: str
    path: str
    lines: tuple[int, int]
    edits: tuple[Edit, ...]
    when_imported: bool = False
    users: tuple[tuple[int, int], ...] = ()

    @property
    def room(self) -> str:
        return self.path.partition("/")[0]


Mutant = DatabaseMutant | SourceMutant
M = TypeVar("M", DatabaseMutant, SourceMutant)


def numbered(mutants: Iterable[M]) -> Iterator[M]:
    """Give the second mutant of one name, and each after it, a number."""
    seen: dict[str, int] = {}
    for mutant in mutants:
        number = seen[mutant.name] = seen.get(mutant.name, 0) + 1
        yield mutant if number == 1 else replace(mutant, name=f"{mutant.name} #{number}")
