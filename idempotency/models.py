"""The dedup table, the single-use tokens, and the counters that limit their issue."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _


class Record(models.Model):
    """The first response to a caller's key: written in the transaction of its effect.

    A row without `status` and `body` is a tombstone: the response's retention is over, and the
    key is refused for ever instead of being run a second time.
    """

    caller = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        related_name="+",
        db_index=False,  # the unique constraint's index begins with it
        verbose_name=_("caller"),
    )
    key = models.CharField(_("key"), max_length=255)
    fingerprint_version = models.PositiveSmallIntegerField(_("fingerprint version"))
    fingerprint = models.CharField(_("fingerprint"), max_length=64)
    method = models.CharField(_("method"), max_length=8)
    path = models.TextField(_("path"))
    # What the request is about, such as `order:<uuid>`, where its view says so.
    subject = models.CharField(_("subject"), max_length=255, blank=True)
    status = models.PositiveSmallIntegerField(_("status"), null=True)
    content_type = models.TextField(_("content type"), blank=True)
    headers = models.JSONField(_("headers"), default=dict)
    body = models.BinaryField(null=True)
    request_id = models.CharField(_("request id"), max_length=128, blank=True)
    created_at = models.DateTimeField(_("created at"), db_default=Now())

    class Meta:
        verbose_name = _("idempotency record")
        verbose_name_plural = _("idempotency records")
        constraints = [
            models.UniqueConstraint(fields=["caller", "key"], name="idempotency_record_once"),
            models.CheckConstraint(
                condition=Q(status__isnull=True, body__isnull=True)
                | Q(status__range=(200, 499), body__isnull=False),
                name="idempotency_record_response_or_tombstone",
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
                fields=["subject"], condition=~Q(subject=""), name="idempotency_record_subject"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.method} {self.path} → {self.status or gettext('tombstone')}"


class Token(models.Model):
    """A single-use key issued to a caller before the click; only its digest is stored."""

    digest = models.CharField(_("digest"), max_length=64, primary_key=True)
    caller = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="+",
        verbose_name=_("caller"),
    )
    issued_at = models.DateTimeField(_("issued at"), db_default=Now())
    expires_at = models.DateTimeField(_("expires at"), db_index=True)

    class Meta:
        verbose_name = _("token")
        verbose_name_plural = _("tokens")
        constraints = [
            models.CheckConstraint(
                condition=Q(expires_at__gt=F("issued_at")), name="idempotency_token_lives"
            ),
        ]

    def __str__(self) -> str:
        return gettext("token %(digest)s…") % {"digest": self.digest[:8]}


class RateCount(models.Model):
    """How often a subject did something in the window that ends then; one row, reused."""

    subject = models.CharField(max_length=255, primary_key=True)
    ends_at = models.DateTimeField(db_index=True)
    count = models.PositiveIntegerField()

    class Meta:
        verbose_name = _("rate count")
        verbose_name_plural = _("rate counts")

    def __str__(self) -> str:
        return f"{self.subject}: {self.count}"
