"""Where the parts of a program stand in its text, and mutants that lack one of them."""

import ast
import re

from tests.mutants.mutant import Edit, SourceMutant

Lines = tuple[int, int]


class Places:
    """Writes mutants down, with their places, for a visitor of a syntax tree.

    :ivar functions: how many functions are around the node that is visited
    """

    def __init__(self, path: str, code: bytes) -> None:
        """Count where each line of the code starts, in bytes, as `ast` does."""
        self.path, self.code = path, code
        self.users = _users(ast.parse(code))
        self.found: list[SourceMutant] = []
        self.places: list[str] = []
        self.functions = 0
        self.starts = [0]
        for line in code.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))

    def _remove(self, whole: ast.AST, part: ast.AST, name: str) -> None:
        """Take an argument or an element away, with its comma."""
        start, end = self._start(part), self._end(part)
        before = self.code[self._start(whole) : start].rstrip()
        rest = self.code[end : self._end(whole)]
        if before.endswith(b"**"):
            start, before = start - 2, before.removesuffix(b"**").rstrip()
        if comma := re.match(rb"\s*,", rest):
            end += comma.end()
        elif before.endswith(b","):
            start = self._start(whole) + len(before) - 1
        what = self._text(part)
        self._record(part, f"{name}(… {what} …)" if name else what, Edit(start, end))

    def _add(self, node: ast.expr, prefix: str, instead: str, *, imported: bool = False) -> None:
        edit = Edit(self._start(node), self._end(node), instead.encode())
        self._record(node, prefix + self._text(node), edit, imported=imported)

    def _record(self, node: ast.AST, what: str, *edits: Edit, imported: bool = False) -> None:
        what = " ".join(what.split())
        name = f"{'.'.join([self.path, *self.places])}: {what[:120]}"
        lines = (node.lineno, node.end_lineno)  # type: ignore[attr-defined]
        imported = imported or not self.functions
        users = {each for place in self.places for each in self.users.get(place, ()) if imported}
        mutant = SourceMutant(name, self.path, lines, edits, imported, tuple(sorted(users)))
        self.found.append(mutant)

    def _start(self, node: ast.AST) -> int:
        line: int = node.lineno  # type: ignore[attr-defined]
        column: int = node.col_offset  # type: ignore[attr-defined]
        return self.starts[line - 1] + column

    def _end(self, node: ast.AST) -> int:
        line: int = node.end_lineno  # type: ignore[attr-defined]
        column: int = node.end_col_offset  # type: ignore[attr-defined]
        return self.starts[line - 1] + column

    def _text(self, node: ast.AST) -> str:
        return self.code[self._start(node) : self._end(node)].decode()


def _users(tree: ast.Module) -> dict[str, set[Lines]]:
    """Return the functions and classes that have a name, or name it: a constant or a class."""
    users: dict[str, set[Lines]] = {}
    constants: list[tuple[str, set[str]]] = []  # and the names in their values
    for node in tree.body:
        named = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            for name in {node.name, *named}:
                users.setdefault(name, set()).add((node.lineno, node.end_lineno or node.lineno))
        elif isinstance(node, ast.Assign):
            constants += [(each.id, named) for each in node.targets if isinstance(each, ast.Name)]
    for constant, parts in reversed(constants):  # a part of a constant takes effect where it does
        for part in parts:
            users.setdefault(part, set()).update(users.get(constant, ()))
    return users
