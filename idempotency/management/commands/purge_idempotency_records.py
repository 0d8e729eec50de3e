from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from idempotency.conf import setting
from idempotency.models import RateCount, Record, Token


class Command(BaseCommand):
    help = (
        "Turns responses past their retention into tombstones (the key stays refused, the response "
        "goes), in small transactions, and deletes expired tokens and rate counts. Safe to repeat "
        "and to interrupt."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--batch", type=int, default=1000, help="rows in one transaction")

    def handle(self, *args: Any, batch: int, **options: Any) -> None:
        records = purge_records(batch=max(1, batch))
        tokens, _ = Token.objects.filter(expires_at__lt=timezone.now()).delete()
        counts, _ = RateCount.objects.filter(ends_at__lt=timezone.now()).delete()
        self.stdout.write(
            f"{records} responses turned into tombstones; "
            f"{tokens} tokens and {counts} rate counts deleted"
        )


def purge_records(*, batch: int) -> int:
    """Blank every response past its retention; a retry finds nothing more to do."""
    cutoff = timezone.now() - setting("IDEMPOTENCY_RETENTION")
    old = Record.objects.filter(created_at__lt=cutoff, body__isnull=False)
    purged = 0
    while ids := list(old.order_by("created_at").values_list("pk", flat=True)[:batch]):
        purged += old.filter(pk__in=ids).update(status=None, body=None, content_type="")
    return purged
