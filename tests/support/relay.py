"""A relay with its failpoints armed by files; only tests start it."""

import sys

from django.core.management import call_command

import tests.support.wsgi  # noqa: F401 - arms the points

call_command("relay", *sys.argv[1:])
