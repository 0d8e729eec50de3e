"""The dedup table, the single-use tokens, and the counters that limit their issue."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now


class Record(models.Model):
    """The first answer to a caller's key: written in the transaction of the effect it answers.

    A row without `status` and `body` is a tombstone: the answer's retention is over, and the
    key is refused for ever instead of being run a second time.
    """

    caller = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    key = models.CharField(max_length=255)
    fingerprint_version = models.PositiveSmallIntegerField()
    fingerprint = models.CharField(max_length=64)
    method = models.CharField(max_length=8)
    path = models.TextField()
    status = models.PositiveSmallIntegerField(null=True)
    content_type = models.TextField(blank=True)
    headers = models.JSONField(default=dict)
    body = models.BinaryField(null=True)
    request_id = models.CharField(max_length=128, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name = "idempotency record"
        constraints = [
            models.UniqueConstraint(fields=["caller", "key"], name="idempotency_record_once"),
            models.CheckConstraint(
                condition=Q(status__isnull=True, body__isnull=True)
                | Q(status__range=(200, 499), body__isnull=False),
                name="idempotency_record_answer_or_tombstone",
            ),
            models.CheckConstraint(condition=~Q(key=""), name="idempotency_record_key_not_empty"),
        ]
        indexes = [
            models.Index(
                fields=["created_at"],
                condition=Q(body__isnull=False),
                name="idempotency_record_to_purge",
            ),
            models.Index(
                fields=["path"], condition=Q(status=202), name="idempotency_record_provisional"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.method} {self.path} → {self.status or 'tombstone'}"


class Token(models.Model):
    """A single-use key issued to a caller before the click; only its digest is kept."""

    digest = models.CharField(max_length=64, primary_key=True)
    caller = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    issued_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(expires_at__gt=F("issued_at")), name="idempotency_token_lives"
            ),
        ]

    def __str__(self) -> str:
        return f"token {self.digest[:8]}…"


class RateCount(models.Model):
    """How often a subject did something in the window that ends then; one row, reused."""

    subject = models.CharField(max_length=255, primary_key=True)
    ends_at = models.DateTimeField(db_index=True)
    count = models.PositiveIntegerField()

    def __str__(self) -> str:
        return f"{self.subject}: {self.count}"
