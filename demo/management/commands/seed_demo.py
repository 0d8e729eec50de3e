import json
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from demo.seed import seed


class Command(BaseCommand):
    help = (
        "Creates the demo's users, accounts and products that are missing. Safe to run again. "
        "Outside of DEBUG it needs DEMO_PASSWORD: the demo's own password is public."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print sign-ins and tokens as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.DEMO_PASSWORD:
            raise CommandError("Set DEMO_PASSWORD, the password of the demo users.")
        seeded = seed()
        if options["json"]:
            self.stdout.write(json.dumps(seeded, indent=2))
            return
        names = ", ".join(user["username"] for user in seeded["users"])
        self.stdout.write(f"Demo customers: {names}. Admin: {seeded['admin']['username']}.")
