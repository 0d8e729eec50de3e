"""Guards of a toy schema, and what is left of each when a term of it is gone."""

from typing import Any

import psycopg
import pytest
from django.db import connection

from tests.mutants import in_database
from tests.mutants.mutant import DatabaseMutant, NotApplied

TOY = """
CREATE TABLE shop_toy (id int, owner int, price int UNIQUE, sold bool,
    CONSTRAINT shop_toy_price CHECK (price > 0 AND (sold OR price < 100)));
CREATE UNIQUE INDEX shop_toy_one_unsold ON shop_toy (owner) WHERE NOT sold;
CREATE FUNCTION shop_toy_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.id, NEW.owner) IS DISTINCT FROM (OLD.id, OLD.owner)
       OR OLD.sold AND NOT EXISTS (SELECT FROM shop_toy WHERE id = OLD.id AND sold) THEN
        RAISE EXCEPTION 'no' USING CONSTRAINT = 'shop_toy_unchanged';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER shop_toy_unchanged BEFORE UPDATE ON shop_toy FOR EACH ROW
    WHEN (OLD.price IS DISTINCT FROM NEW.price OR OLD.sold) EXECUTE FUNCTION shop_toy_refuse();
"""


@pytest.fixture
def session(db: None) -> psycopg.Connection[Any]:
    """Return the session of the test, with the toy in its transaction."""
    connection.ensure_connection()
    session: psycopg.Connection[Any] = connection.connection
    session.execute(TOY)
    return session


def of_the_toy(session: psycopg.Connection[Any]) -> list[DatabaseMutant]:
    mutants = in_database.mutants_in(in_database.catalogue(session))
    return [mutant for mutant in mutants if "shop_toy" in mutant.name]


def test_every_guard_and_every_term_of_it_is_a_mutant(session: psycopg.Connection[Any]) -> None:
    names = [
        mutant.name.replace("shop_toy.shop_toy_", "").replace("shop_toy_", "")
        for mutant in of_the_toy(session)
    ]
    assert names == [
        "trigger unchanged",
        "trigger unchanged: WHEN without (old.price IS DISTINCT FROM new.price)",
        "trigger unchanged: WHEN without old.sold",
        "constraint price",
        "constraint price: CHECK without (price > 0)",
        "constraint price: CHECK without (sold OR (price < 100))",
        "constraint price_key",
        "index one_unsold",
        "function refuse: without RAISE EXCEPTION 'no' USING CONSTRAINT = 'unchanged';",
        "function refuse: without (NEW.id, NEW.owner) IS DISTINCT FROM (OLD.id, OLD.owner)",
        "function refuse: without OLD.sold AND NOT EXISTS (SELECT FROM shop_toy "
        "WHERE id = OLD.id AND sold)",
        "function refuse: without id = OLD.id",
        "function refuse: without sold",
        "function refuse: without the comparison of id",
        "function refuse: without the comparison of owner",
    ]


def test_each_mutant_takes_one_guard_away(session: psycopg.Connection[Any]) -> None:
    for mutant in of_the_toy(session):
        session.execute("SAVEPOINT whole")
        in_database.apply(session, mutant)
        session.execute("ROLLBACK TO SAVEPOINT whole")


@pytest.mark.parametrize(
    "statements",
    [
        "SELECT 1",
        "DROP TABLE shop_toy",
        "DROP TRIGGER no_such_trigger ON shop_toy",
    ],
)
def test_a_mutant_that_takes_no_guard_away_or_several_is_an_error(
    statements: str, session: psycopg.Connection[Any]
) -> None:
    mutant = DatabaseMutant("toy", "shop_toy", "toy", statements)
    with pytest.raises(NotApplied, match="toy: "):
        in_database.apply(session, mutant)
