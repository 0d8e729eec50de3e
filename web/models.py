"""The tables of signing in: API tokens, and where customers signed in before."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _


class ApiToken(models.Model):
    """A token of a user's for the API; only its digest is stored. Its deletion revokes it."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.CASCADE,
        verbose_name=_("user"),
        related_name="api_tokens",
        db_index=False,  # `web_apitoken_of_user` is one
    )
    digest = models.CharField(max_length=64, unique=True, editable=False)
    name = models.CharField(_("name"), max_length=100, blank=True)
    created_at = models.DateTimeField(_("created at"), db_default=Now())
    # Null: it does not expire. Those from `POST sign-in/` all do.
    expires_at = models.DateTimeField(_("expires at"), null=True)
    # To the hour: see `web.api_tokens.note_use`.
    last_used_at = models.DateTimeField(_("last used"), null=True)

    class Meta:
        verbose_name = _("API token")
        verbose_name_plural = _("API tokens")
        constraints = [
            models.CheckConstraint(
                condition=Q(digest__regex=r"^[0-9a-f]{64}$"), name="web_apitoken_is_a_digest"
            ),
            models.CheckConstraint(
                condition=Q(expires_at__isnull=True) | Q(expires_at__gt=F("created_at")),
                name="web_apitoken_lives",
            ),
        ]
        indexes = [models.Index(fields=["user", "-id"], name="web_apitoken_of_user")]

    def __str__(self) -> str:
        return self.name or f"{self.digest[:8]}…"


class KnownOrigin(models.Model):
    """An address or a browser from which a user has signed in; only a keyed digest is stored.

    A flood of attempts under the user's name from elsewhere does not keep it out.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    digest = models.CharField(max_length=64, unique=True)
    seen_at = models.DateTimeField(db_default=Now(), db_index=True)

    class Meta:
        verbose_name = _("known origin")
        verbose_name_plural = _("known origins")

    def __str__(self) -> str:
        return f"{self.digest[:8]}…"
