import signal
from argparse import ArgumentParser
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from payments import client
from web.arguments import number_up_to
from web.database.deadlines import expect_responses

CONCURRENCY_MAX = 256


class Command(BaseCommand):
    help = (
        "Requests every payment in the outbox from the payment system (PAYMENTS_URL) and settles "
        "the orders, until it is stopped (SIGTERM, Ctrl-C: it finishes what is under way). Run as "
        "many as you like, on any hosts; the work of one that is killed is free at once. It needs "
        "a direct connection to PostgreSQL, not a pooler's."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--concurrency",
            type=number_up_to(CONCURRENCY_MAX),
            default=32,
            metavar="N",
            help="payments requested at the same time (default: %(default)s)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if not (client.is_remote() and apps.is_installed("orders")):
            raise CommandError("A relay is for an order system that has a PAYMENTS_URL.")
        from orders.relay import Relay  # noqa: PLC0415 - its tables are not in every process

        expect_responses(within_seconds=settings.DATABASE_RESPONSE_SECONDS)
        relay = Relay(concurrency=options["concurrency"])
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: relay.stop())
        relay.run()
