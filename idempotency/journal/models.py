"""The journal's table: a row for each request that passed the boundary, by its outcome."""

from uuid import uuid4

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _


class Outcome(models.TextChoices):
    """What became of a request: all but `executed` are duplicates."""

    EXECUTED = "executed", _("executed")
    WAITED = "waited", _("waited for the first, got its response")
    REPLAYED = "replayed", _("got the first response again")
    SUPERSEDED = "superseded", _("another key had decided")
    IN_USE = "in-use", _("refused: the first was still running")
    EXPIRED = "expired", _("refused: the key had expired")
    REUSED = "reused", _("refused: the key belongs to another request")


class JournaledRequest(models.Model):
    """A request that passed the boundary; only `idempotency.journal.recorder` writes it.

    The row's id is made in the process, so that writing a batch again adds nothing. `received_at`
    is a time of the database's clock.
    """

    id = models.UUIDField(primary_key=True, default=uuid4, editable=False)
    received_at = models.DateTimeField(_("received"), db_index=True)
    outcome = models.CharField(_("outcome"), max_length=10, choices=Outcome)
    scope = models.CharField(_("scope"), max_length=255)  # empty: shed before authentication
    key_digest = models.CharField(_("key digest"), max_length=12)
    subject = models.CharField(_("subject"), max_length=255)
    request_id = models.CharField(_("request id"), max_length=128)
    milliseconds = models.FloatField(_("milliseconds"))
    waited_milliseconds = models.FloatField(_("of these, waited"))
    steps = models.JSONField(_("steps"))  # [name, rows, milliseconds]

    class Meta:
        verbose_name = _("journaled request")
        verbose_name_plural = _("journaled requests")
        default_permissions = ("view",)
        indexes = [
            models.Index(
                fields=["subject", "received_at"],
                condition=~Q(subject=""),
                name="idempotency_journal_subject",
            ),
            models.Index(fields=["key_digest", "received_at"], name="idempotency_journal_key"),
            models.Index(
                fields=["request_id"],
                condition=~Q(request_id=""),
                name="idempotency_journal_request",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.received_at:%Y-%m-%d %H:%M:%S} {self.get_outcome_display()}"
