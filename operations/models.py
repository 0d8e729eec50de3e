"""The project's own table: replays and conflicts, counted by the hour."""

from django.db import models
from django.db.models import Q


class HourlyCount(models.Model):
    """The number of replays or conflicts in an hour; only `operations.hourly` writes it."""

    class Kind(models.TextChoices):
        REPLAY = "replay"
        CONFLICT = "conflict"

    pk = models.CompositePrimaryKey("hour", "kind")
    hour = models.DateTimeField()
    kind = models.CharField(max_length=8, choices=Kind)
    count = models.PositiveBigIntegerField()

    class Meta:
        default_permissions = ()
        constraints = [
            models.CheckConstraint(
                condition=Q(kind__in=["replay", "conflict"]),
                name="operations_hourlycount_known_kind",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H}h: {self.count} × {self.kind}"
