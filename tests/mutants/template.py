"""Make a migrated database of a name: `python -m tests.mutants.template NAME`."""

import sys

import django
import pytest

COMMENT = "SELECT obj_description('public'::regnamespace)"


def main(name: str) -> None:
    """Make the database that DJANGO_SETTINGS_MODULE describes; one of this name is replaced."""
    django.setup()
    from django.db import connection

    connection.settings_dict["TEST"]["NAME"] = name
    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    connection.close()


def comment(request: pytest.FixtureRequest) -> str | None:
    """Return the name of the mutant that a run's database is, which its schema has as a comment."""
    from django.db import connection

    blocker = request.getfixturevalue("django_db_blocker")
    with blocker.unblock(), connection.cursor() as cursor:
        cursor.execute(COMMENT)
        (found,) = cursor.fetchone()
    return found if found is None else str(found)


if __name__ == "__main__":
    main(sys.argv[1])
