"""The guards in the project's code, discovered in its syntax trees, and a mutant of each.

Conditions of lookups and of SQL, permissions, and refusals (`if …: raise …`).
"""

import ast
import re
from pathlib import Path

from tests.mutants.conditions import terms_of_where, where_clauses
from tests.mutants.literals import text_of
from tests.mutants.mutant import Edit, NotApplied, SourceMutant, numbered
from tests.mutants.places import Places

ROOMS = ("orders", "payments", "idempotency", "shop", "operations", "web")
LOOKUPS = frozenset({"filter", "exclude", "get", "get_or_create", "update_or_create"})
NO_SQL = frozenset({"shop/statements.py"})  # it describes statements for people
NAMES_OF_ONE_ROW = frozenset({"pk", "id"})
PERMISSIONS = frozenset({"permission_classes", "authentication_classes"})
LISTS = frozenset({"DEFAULT_PERMISSION_CLASSES", "MIDDLEWARE"})  # in the settings
MAY = re.compile(r"^(has_\w*permission|_?may_\w+)$")
HAS = frozenset({"has_perm", "has_perms", "has_module_perms"})
OF_A_USER = frozenset({"is_authenticated", "is_staff", "is_superuser", "is_active"})
DECORATORS = re.compile(
    r"^(login_required|permission_required|user_passes_test|staff_member_required|require_\w+"
    r"|csrf_protect|never_cache|sensitive_\w+)$"
)


def mutants_in(root: Path) -> list[SourceMutant]:
    """Return the mutants of every file of the rooms, and of the settings."""
    files = sorted(file for room in ROOMS for file in (root / room).rglob("*.py"))
    files = [file for file in files if not {"tests", "migrations"} & set(file.parts)]
    found: list[SourceMutant] = []
    for file in [*files, root / "config" / "settings.py"]:
        if file.exists():
            found += mutants_of(str(file.relative_to(root)), file.read_bytes())
    return found


def mutants_of(path: str, code: bytes) -> list[SourceMutant]:
    """Return the mutants of one file."""
    finder = _Finder(path, code)
    finder.visit(ast.parse(code))
    return list(numbered(finder.found))


def mutated(code: bytes, mutant: SourceMutant) -> bytes:
    """Return a file's code without a guard.

    :raises NotApplied: it is the same program, or none
    """
    changed = code
    for edit in sorted(mutant.edits, key=lambda edit: -edit.start):
        changed = changed[: edit.start] + edit.text + changed[edit.end :]
    try:
        same = ast.dump(ast.parse(changed)) == ast.dump(ast.parse(code))
    except SyntaxError as error:
        raise NotApplied(f"{mutant.name}: {error}") from error
    if same:
        raise NotApplied(f"{mutant.name}: the program is the same without it")
    return changed


class _Finder(Places, ast.NodeVisitor):
    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._inside(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._inside(node, functions=1)

    def visit_Call(self, node: ast.Call) -> None:
        name = _called(node)
        if name in LOOKUPS and isinstance(node.func, ast.Attribute):
            self._conditions(node, name)
        if name in HAS:
            self._add(node, "", f"({self._text(node)} or True)")
        if DECORATORS.match(name) and len(node.args) == 1 and not node.keywords and self.functions:
            self._add(node, "", self._text(node.args[0]))
        for keyword in node.keywords:
            if keyword.arg == "permissions":
                self._remove(node, keyword, f"{name}(permissions)")
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if node.attr in OF_A_USER and isinstance(node.ctx, ast.Load):
            self._add(node, "", f"({self._text(node)} or True)")
        self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        test = self._text(node.test)
        ends = node.body[-1]
        decides = isinstance(ends, ast.Return) and re.search(r"update\(|delete\(|rowcount", test)
        if isinstance(ends, ast.Raise) or decides:
            self._add(node.test, "if ", f"(({test}) and False)")
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str) and self.path not in NO_SQL:
            self._sql(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        self._sql(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):  # a docstring
            self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        names = _names(node)
        if not self.functions:
            self.places += sorted(names)
        if names & (PERMISSIONS | LISTS):
            self._elements(node.value)
        self.generic_visit(node)
        if not self.functions:
            del self.places[len(self.places) - len(names) :]

    def visit_Dict(self, node: ast.Dict) -> None:
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant) and key.value in LISTS:
                self._elements(value)
        self.generic_visit(node)

    def _inside(self, node: ast.ClassDef | ast.FunctionDef, functions: int = 0) -> None:
        self.places.append(node.name)
        self._decorators(node)
        self.functions += functions
        first = node.body[1:2] if ast.get_docstring(node) else node.body[:1]
        if MAY.match(node.name) and first and ast.unparse(first[0]) != "return True":
            start = self._start(first[0])
            indent = b" " * first[0].col_offset
            self._record(first[0], "return True", Edit(start, start, b"return True\n" + indent))
        for child in node.body:
            self.visit(child)
        self.functions -= functions
        self.places.pop()

    def _decorators(self, node: ast.ClassDef | ast.FunctionDef) -> None:
        for decorator in node.decorator_list:
            if DECORATORS.match(_called(decorator)):
                start = self._start(decorator) - 1
                self._record(
                    decorator,
                    f"@{self._text(decorator)}",
                    Edit(start, self._end(decorator)),
                    imported=True,
                )
            else:
                self.visit(decorator)

    def _conditions(self, node: ast.Call, name: str) -> None:
        """Take one condition out of a lookup; the only one of `get` would be no lookup."""
        arguments = [*node.args, *node.keywords]
        for each in arguments:
            only = len(arguments) == 1
            column = each.arg if isinstance(each, ast.keyword) else ""
            if only and (name not in {"filter", "exclude"} or column in NAMES_OF_ONE_ROW):
                continue
            if name in {"filter", "exclude"} or column not in {"", "defaults", None}:
                self._remove(node, each, name)

    def _elements(self, node: ast.expr) -> None:
        if isinstance(node, ast.List | ast.Tuple):
            for element in node.elts:
                others = [self._text(each) for each in node.elts if each is not element]
                instead = f"[{', '.join(others)}]"
                edit = Edit(self._start(node), self._end(node), instead.encode())
                self._record(element, self._text(element), edit)

    def _sql(self, node: ast.expr) -> None:
        literal = text_of(self.code, self._start(node), self._end(node))
        for clause in where_clauses(literal.text):
            for term in terms_of_where(literal.text, clause):
                # Parameters stay where they are: the term becomes part of one that is true.
                edits = (
                    Edit(literal.at[term.span.start], literal.at[term.span.start], b"(("),
                    Edit(
                        literal.at[term.span.end - 1] + 1,
                        literal.at[term.span.end - 1] + 1,
                        b") IS NULL OR TRUE)",
                    ),
                )
                self._record(
                    node, f"WHERE {term.span.of(literal.text)}", *edits, imported=not self.functions
                )


def _names(node: ast.Assign) -> set[str]:
    return {target.id for target in node.targets if isinstance(target, ast.Name)}


def _called(node: ast.expr) -> str:
    """Return the last part of what is called, or of a decorator's name."""
    while isinstance(node, ast.Call):
        node = node.func
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
