from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError

from web import api_tokens
from web.arguments import number_up_to

DAYS_MAX = 3650


class Command(BaseCommand):
    help = (
        "Prints a new API token of a user, such as an order system's for the payment system. "
        "It is shown this once: the database stores its digest. Each run makes another one."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--name", default="", help="its name in lists of tokens")
        parser.add_argument(
            "--days",
            type=number_up_to(DAYS_MAX),
            help="how long it is valid; by default until it is revoked or the password changes",
        )

    def handle(
        self, *args: Any, username: str, name: str, days: int | None, **options: Any
    ) -> None:
        user = User.objects.filter(username=username).first()
        lifetime = timedelta(days=days) if days else None
        issued = api_tokens.issue(user, name=name[:100], lifetime=lifetime) if user else None
        if issued is None:
            raise CommandError(f"There is no active user {username!r}.")
        self.stdout.write(issued.token)
