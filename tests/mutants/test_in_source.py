"""Guards in source code, and what is left of the code when one is gone."""

import pytest

from tests.mutants.in_source import mutants_of, mutated
from tests.mutants.mutant import Edit, NotApplied, SourceMutant


def without_each(code: str) -> list[str]:
    """Return the versions of some code that lack a guard."""
    return [
        mutated(code.encode(), mutant).decode()
        for mutant in mutants_of("orders/toy.py", code.encode())
    ]


@pytest.mark.parametrize(
    ("code", "versions"),
    [
        (
            "Order.objects.filter(pk=1, customer=me).update(status=2)",
            [
                "Order.objects.filter( customer=me).update(status=2)",
                "Order.objects.filter(pk=1).update(status=2)",
            ],
        ),
        ("Order.objects.filter(pk=1)", []),
        ("Order.objects.exclude(owner=None)", ["Order.objects.exclude()"]),
        (
            "Order.objects.filter(Q(a=1), **owner)",
            ["Order.objects.filter( **owner)", "Order.objects.filter(Q(a=1))"],
        ),
        (
            "Order.objects.get(pk=1, customer=me)",
            ["Order.objects.get( customer=me)", "Order.objects.get(pk=1)"],
        ),
        ("Order.objects.get(pk=1)", []),
        (
            "if not balance:\n    raise Broke",
            ["if ((not balance) and False):\n    raise Broke"],
        ),
        (
            "if rows.update(a=1) != 1:\n    return False",
            ["if ((rows.update(a=1) != 1) and False):\n    return False"],
        ),
        ("if balance:\n    return 1", []),
        (
            "class View:\n    permission_classes = (MayCharge,)",
            ["class View:\n    permission_classes = []"],
        ),
        (
            "def has_add_permission(self):\n    return False",
            ["def has_add_permission(self):\n    return True\n    return False"],
        ),
        ("@login_required\ndef page(): ...", ["\ndef page(): ..."]),
        (
            "def page(view):\n    return public(login_required(view))",
            ["def page(view):\n    return public(view)"],
        ),
        ("@action(permissions=['pay'])\ndef pay(): ...", ["@action()\ndef pay(): ..."]),
        ("may = user.has_perm('pay')", ["may = (user.has_perm('pay') or True)"]),
        ("MIDDLEWARE = ['csrf', 'auth']", ["MIDDLEWARE = ['auth']", "MIDDLEWARE = ['csrf']"]),
    ],
)
def test_a_guard_in_source_code_can_be_taken_away(code: str, versions: list[str]) -> None:
    assert without_each(code) == versions


def test_each_term_of_a_where_can_be_true_in_whatever_literal() -> None:
    code = """run("DELETE FROM a "
    "WHERE b = %s AND (c OR d) "
    f"AND EXISTS (SELECT FROM {e} WHERE f BETWEEN 1 AND 2) ORDER BY g")"""

    terms = [
        "b = %s",
        "(c OR d)",
        "EXISTS (SELECT FROM {e} WHERE f BETWEEN 1 AND 2)",
        "f BETWEEN 1 AND 2",
    ]
    assert without_each(code) == [
        code.replace(term, f"(({term}) IS NULL OR TRUE)", 1) for term in terms
    ]


def test_a_docstring_has_no_guard() -> None:
    assert without_each('def f():\n    """DELETE FROM a WHERE b"""') == []


def test_the_name_says_where_the_guard_is() -> None:
    refusal = b"        if c:\n            raise D\n"
    code = b"class A:\n    def b(self):\n" + refusal + refusal

    first, second = mutants_of("orders/toy.py", code)

    assert first.name == "orders/toy.py.A.b: if c"
    assert second.name == "orders/toy.py.A.b: if c #2"
    assert (first.lines, second.lines) == ((3, 3), (5, 5))
    assert not first.when_imported


@pytest.mark.parametrize("text", [b"a  =  1", b"a = "])
def test_a_mutant_that_is_the_same_program_or_none_is_an_error(text: bytes) -> None:
    mutant = SourceMutant("toy", "orders/toy.py", (1, 1), (Edit(0, 5, text),))
    with pytest.raises(NotApplied, match="toy: "):
        mutated(b"a = 1", mutant)


def test_a_guard_that_takes_effect_at_import_knows_what_uses_it() -> None:
    code = """TERM = "SELECT FROM a WHERE b = 1"
QUERY = f"({TERM}) UNION SELECT FROM c WHERE d = 2"

def look(): return run(QUERY)

@require_safe
def page(): ...

class View:
    permission_classes = [May]
    def get(self): return look()
"""
    used = {each.name: each.users for each in mutants_of("orders/toy.py", code.encode())}
    assert used == {
        "orders/toy.py.TERM: WHERE b = 1": ((4, 4),),
        "orders/toy.py.QUERY: WHERE d = 2": ((4, 4),),
        "orders/toy.py.page: @require_safe": ((7, 7),),
        "orders/toy.py.View.permission_classes: May": ((9, 11),),
    }
