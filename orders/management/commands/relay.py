import signal
from argparse import ArgumentParser
from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError

from payments import client
from web.arguments import number_up_to

MOST_AT_ONCE = 256


class Command(BaseCommand):
    help = (
        "Asks the payment system (PAYMENTS_URL) for every payment in the outbox and settles the "
        "orders, until it is told to stop (SIGTERM, Ctrl-C: it ends what is under way). Run as "
        "many as you like, on any hosts; one that is killed is taken over from at once. It wants "
        "a direct connection to PostgreSQL, not a pooler's."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--concurrency",
            type=number_up_to(MOST_AT_ONCE),
            default=32,
            metavar="N",
            help="payments asked for at the same time (default: %(default)s)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if not (client.is_remote() and apps.is_installed("orders")):
            raise CommandError("A relay is for an order system that has a PAYMENTS_URL.")
        from orders.relay import Relay  # noqa: PLC0415 - its tables are not in every process

        relay = Relay(concurrency=options["concurrency"])
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: relay.stop())
        relay.run()
