"""The dedup table, the single-use tokens, and the counters that limit their issue."""

from datetime import timedelta

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _


class Record(models.Model):
    """The first response to a key: written in the transaction of its effect.

    A row without `status` and `body` is a tombstone: the response's retention is over, or its
    scope was erased. Only the identity, a digest of scope and key, is left of the request, and the
    key is refused for ever instead of being run a second time.
    """

    identity = models.BinaryField(max_length=32, editable=False)
    scope = models.CharField(_("scope"), max_length=255, blank=True)
    key = models.CharField(_("key"), max_length=255, blank=True)
    # When a UUIDv7 key says that it was made: such a tombstone may go, its key stays refused.
    key_made_at = models.DateTimeField(null=True, editable=False)
    fingerprint_version = models.PositiveSmallIntegerField(_("fingerprint version"))
    # The project's own fingerprint function, where one made it.
    fingerprint_by = models.CharField(max_length=255, blank=True, editable=False)
    fingerprint = models.CharField(_("fingerprint"), max_length=64)
    # In the newer versions that its writer knew, by their number; null where it knew one.
    newer_fingerprints = models.JSONField(null=True, editable=False)
    method = models.CharField(_("method"), max_length=16, blank=True)
    path = models.TextField(_("path"), blank=True)
    # What the request is about, such as `order:<uuid>`, where its view says so.
    subject = models.CharField(_("subject"), max_length=255, blank=True)
    status = models.PositiveSmallIntegerField(_("status"), null=True)
    content_type = models.TextField(_("content type"), blank=True)
    headers = models.JSONField(_("headers"), default=dict)
    body = models.BinaryField(null=True)
    request_id = models.CharField(_("request id"), max_length=128, blank=True)
    created_at = models.DateTimeField(_("created at"), db_default=Now())
    # What its writer promised; the default is for the servers of a release that knew no promise.
    retained_until = models.DateTimeField(
        _("retained until"), db_default=Now() + timedelta(days=30), editable=False
    )

    class Meta:
        verbose_name = _("idempotency record")
        verbose_name_plural = _("idempotency records")
        constraints = [
            models.UniqueConstraint(fields=["identity"], name="idempotency_record_once"),
            models.CheckConstraint(
                # A CHECK that is unknown admits: hence both say whether there is a status.
                condition=Q(status__isnull=True, body__isnull=True)
                | Q(status__isnull=False, status__range=(200, 499), body__isnull=False),
                name="idempotency_record_response_or_tombstone",
            ),
            models.CheckConstraint(
                condition=Q(status__isnull=True) | ~Q(key=""),
                name="idempotency_record_key_not_empty",
            ),
        ]
        indexes = [
            models.Index(
                fields=["retained_until"],
                condition=Q(body__isnull=False),
                name="idempotency_record_expires",
            ),
            models.Index(
                fields=["key_made_at"],
                condition=Q(body__isnull=True, key_made_at__isnull=False),
                name="idempotency_record_to_delete",
            ),
            models.Index(
                fields=["subject"], condition=~Q(subject=""), name="idempotency_record_subject"
            ),
            # The admin reads these three, no request does.
            models.Index(
                fields=["-id"],
                condition=Q(body__isnull=True),
                name="idempotency_record_tombstones",
            ),
            models.Index(fields=["key"], condition=~Q(key=""), name="idempotency_record_key"),
            models.Index(
                fields=["request_id"],
                condition=~Q(request_id=""),
                name="idempotency_record_request",
            ),
            models.Index(
                fields=["scope", "-id"], condition=~Q(scope=""), name="idempotency_record_of_scope"
            ),
        ]

    def __str__(self) -> str:
        if self.status is None:
            return gettext("tombstone")
        return f"{self.method} {self.path} → {self.status}".strip()


class Horizon(models.Model):
    """One row: keys that were made before this, as they say, are refused, used or not.

    Their tombstones may be deleted. It never moves back.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    keys_made_before = models.DateTimeField()

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(id=1), name="idempotency_horizon_is_one")]

    def __str__(self) -> str:
        return f"{self.keys_made_before}"


class Token(models.Model):
    """A single-use key issued to a scope before the click; only its digest is stored."""

    digest = models.CharField(_("digest"), max_length=64, primary_key=True)
    scope = models.CharField(_("scope"), max_length=255, db_index=True)
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
