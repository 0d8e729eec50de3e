"""Make a migrated database of a name: `python -m tests.mutants.template NAME`."""

import sys

import django


def main(name: str) -> None:
    """Make the database that DJANGO_SETTINGS_MODULE describes; one of this name is replaced."""
    django.setup()
    from django.db import connection

    connection.settings_dict["TEST"]["NAME"] = name
    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    connection.close()


if __name__ == "__main__":
    main(sys.argv[1])
