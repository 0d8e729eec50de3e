"""The guards of a migrated database, discovered in its catalogue, and mutants of each.

Triggers, CHECKs and UNIQUEs of the project's tables, and each rule within a trigger's function.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import psycopg

from tests.mutants.conditions import Span, Term, terms_of_where, weakening, where_clauses
from tests.mutants.mutant import DatabaseMutant, NotApplied, numbered

TABLES = "^(orders|payments|idempotency|shop|operations|web)_"
TRIGGERS = """
SELECT tgrelid::regclass::text, tgname, pg_get_triggerdef(oid) FROM pg_trigger
 WHERE NOT tgisinternal AND tgrelid::regclass::text ~ %s ORDER BY 1, 2
"""
CONSTRAINTS = """
SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
 WHERE contype IN ('c', 'u') AND conrelid::regclass::text ~ %s ORDER BY 1, 2
"""
INDEXES = """
SELECT indrelid::regclass::text, indexrelid::regclass::text, pg_get_indexdef(indexrelid)
  FROM pg_index
 WHERE indisunique AND NOT indisprimary AND indrelid::regclass::text ~ %s
   AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND contype = 'u')
 ORDER BY 1, 2
"""
FUNCTIONS = """
SELECT coalesce(min(tgrelid::regclass::text), ''), proname::text, pg_get_functiondef(pg_proc.oid)
  FROM pg_proc LEFT JOIN pg_trigger ON pg_proc.oid = tgfoid AND tgrelid::regclass::text ~ %s
 WHERE prorettype = 'trigger'::regtype AND pronamespace = 'public'::regnamespace
 GROUP BY pg_proc.oid, proname ORDER BY 2
"""
KINDS = {
    "trigger": TRIGGERS,
    "constraint": CONSTRAINTS,
    "index": INDEXES,
    "function": FUNCTIONS,
}

# A column of a row that is compared with what it was.
COMPARED = re.compile(r"(?<=[(,\s])new\.(\w+)(?=\s*[,)])", re.IGNORECASE)
COMPARISON = re.compile(r"\([^()]*\)\s*IS\s+DISTINCT\s+FROM\s+(?:ROW)?\([^()]*\)", re.IGNORECASE)
WHEN = re.compile(r"\sWHEN\s(\(.*\))\sEXECUTE\s", re.DOTALL)
RULE = re.compile(r"\b(?:ELS)?IF\b(.*?)\bTHEN\s+(RAISE|RETURN)\b", re.DOTALL)
NAMED = re.compile(r"CONSTRAINT = '(\w+)'")  # what a RAISE reports
RAISE = re.compile(r"(\bTHEN\s+)?RAISE\s+EXCEPTION\b.*?;", re.DOTALL)


class Guard(NamedTuple):
    """A guard as the catalogue has it."""

    kind: str
    table: str
    name: str
    definition: str

    @property
    def title(self) -> str:
        return (
            f"{self.kind} {self.name if self.kind == 'function' else f'{self.table}.{self.name}'}"
        )


def catalogue(session: psycopg.Connection[Any]) -> list[Guard]:
    """Return every guard of the project's tables."""
    return [
        Guard(kind, *row)
        for kind, statement in KINDS.items()
        for row in session.execute(statement, [TABLES]).fetchall()
    ]


def mutants_in(guards: list[Guard]) -> list[DatabaseMutant]:
    """Return the mutants of every guard."""
    found = (mutant for guard in guards for mutant in MUTANTS_OF[guard.kind](guard))
    return list(numbered(found))


def apply(session: psycopg.Connection[Any], mutant: DatabaseMutant) -> None:
    """Take a guard away.

    :raises NotApplied: not exactly one definition has changed
    """
    before = catalogue(session)
    try:
        session.execute(mutant.statements)
    except psycopg.Error as error:
        raise NotApplied(f"{mutant.name}: {error}") from error
    after = catalogue(session)
    definitions = ({(each.title, each.definition) for each in found} for found in (before, after))
    changed = {title for title, _ in set.symmetric_difference(*definitions)}
    if len(changed) != 1:
        raise NotApplied(f"{mutant.name}: {len(changed)} definitions have changed, not one")


def _of_trigger(guard: Guard) -> Iterator[DatabaseMutant]:
    drop = f"DROP TRIGGER {guard.name} ON {guard.table}"
    yield _mutant(guard, "", drop)
    if condition := WHEN.search(guard.definition):
        span = Span(*condition.span(1))
        for what, changed in _weakened(guard.definition, span, admits=False):
            yield _mutant(guard, f"WHEN without {what}", f"{drop}; {changed}")


def _of_constraint(guard: Guard) -> Iterator[DatabaseMutant]:
    drop = f"ALTER TABLE {guard.table} DROP CONSTRAINT {guard.name}"
    yield _mutant(guard, "", drop)
    if guard.definition.startswith("CHECK"):
        add = f"ALTER TABLE {guard.table} ADD CONSTRAINT {guard.name}"
        span = Span(len("CHECK "), len(guard.definition))
        for what, changed in _weakened(guard.definition, span, admits=True):
            yield _mutant(guard, f"CHECK without {what}", f"{drop}; {add} {changed}")


def _of_index(guard: Guard) -> Iterator[DatabaseMutant]:
    yield _mutant(guard, "", f"DROP INDEX {guard.name}")


def _of_function(guard: Guard) -> Iterator[DatabaseMutant]:
    body = guard.definition
    for rule in RAISE.finditer(body):
        then = rule[1] or ""
        instead = f"{then}NULL;" if then else "RETURN coalesce(NEW, OLD);"
        changed = f"{body[: rule.start()]}{instead}{body[rule.end() :]}"
        yield _mutant(guard, f"without {_short(rule[0].removeprefix(then))}", changed)
    for what, changed in _rules_weakened(body):
        yield _mutant(guard, f"without {what}", changed)


def _rules_weakened(body: str) -> Iterator[tuple[str, str]]:
    in_rules = []
    for rule in RULE.finditer(body):
        start = rule.start(1) + rule[1].rfind(" IF ") + 1  # of the innermost IF
        span = Span(start + (2 if " IF " in rule[1] else 0), rule.end(1))
        in_rules.append(span)
        yield from _weakened(body, span, admits=rule[2] == "RETURN")
    for clause in where_clauses(body):
        if not any(rule.start <= clause.start < rule.end for rule in in_rules):
            terms = list(terms_of_where(body, clause))
            yield from (_changed(body, term) for term in terms if len(terms) > 1)


def _weakened(text: str, span: Span, *, admits: bool) -> Iterator[tuple[str, str]]:
    """Return what can go from a condition, each with the text without it."""
    for term in weakening(text, span, admits=admits):
        yield _changed(text, term)
    for comparison in COMPARISON.finditer(text, span.start, span.end):
        for column in COMPARED.finditer(text, *comparison.span()):
            changed = f"{text[: column.start()]}OLD.{column[1]}{text[column.end() :]}"
            yield f"the comparison of {column[1]}", changed


def _changed(text: str, term: Term) -> tuple[str, str]:
    return _short(term.span.of(text)), term.replaced(text)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 90 else f"{text[:60]}…{text[-29:]}"


def _mutant(guard: Guard, part: str, statements: str) -> DatabaseMutant:
    name = f"{guard.title}: {part}" if part else guard.title
    both = zip(guard.definition, statements, strict=False)
    changes_at = next((number for number, (one, other) in enumerate(both) if one != other), 0)
    named = NAMED.search(guard.definition, changes_at) if guard.kind == "function" else None
    return DatabaseMutant(name, guard.table, named[1] if named else guard.name, statements)


MUTANTS_OF = {
    "trigger": _of_trigger,
    "constraint": _of_constraint,
    "index": _of_index,
    "function": _of_function,
}
