"""Make a contender's tables and its two users: `python -m benchmarks.packages.prepare`."""

from benchmarks.packages.wsgi import contender  # configures Django

# isort: split
import os

from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from rest_framework.authtoken.models import Token

from benchmarks.packages.project import CHARGE_TABLE

call_command("migrate", verbosity=0)
with connection.cursor() as cursor:
    cursor.execute(CHARGE_TABLE)
for token in os.environ["COMPARE_TOKENS"].split():
    Token.objects.create(user=User.objects.create_user(f"user-{token[:8]}"), key=token)
if hasattr(contender, "prepare"):
    contender.prepare()
