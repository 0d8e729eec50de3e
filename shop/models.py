"""A customer's baskets and, where RECORD_CLICKS is set, the clicks that reached the server."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _
from uuid_utils.compat import uuid7

from orders.models import Order


class Basket(models.Model):
    """What a customer is about to order. Its id is the order's key: it becomes one order."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    customer = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    lines = models.JSONField(default=dict)  # {sku: quantity}
    order = models.OneToOneField(
        Order, on_delete=models.PROTECT, null=True, related_name="+", editable=False
    )

    class Meta:
        verbose_name = _("basket")
        verbose_name_plural = _("baskets")
        constraints = [
            models.UniqueConstraint(
                fields=["customer"], condition=Q(order=None), name="shop_basket_one_open"
            ),
        ]

    def __str__(self) -> str:
        return f"basket {self.pk}"


class ClickAction(models.TextChoices):
    """The button that was clicked."""

    PLACE = "place"
    PAY = "pay"


class ClickOutcome(models.TextChoices):
    """How the server handled a click."""

    EXECUTED = "executed"
    REPLAYED = "replayed"
    REFUSED = "refused"


class Click(models.Model):
    """A click that reached the server, recorded on receipt and updated with its outcome.

    Both writes are outside the click's own transaction: a click whose process was killed stays
    here without an outcome. Recorded where RECORD_CLICKS is set; a request to the API never is.
    """

    customer = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+"
    )
    action = models.CharField(max_length=5, choices=ClickAction)
    order_id = models.UUIDField(null=True)
    key = models.CharField(max_length=16)  # its first characters: recognisable, not replayable
    request_id = models.CharField(max_length=128)
    received_at = models.DateTimeField(db_default=Now())
    responded_at = models.DateTimeField(null=True)
    outcome = models.CharField(max_length=8, choices=ClickOutcome, blank=True)
    reason = models.CharField(max_length=64, blank=True)
    statements = models.JSONField(default=list)  # [name, rows, milliseconds]

    class Meta:
        verbose_name = _("click")
        verbose_name_plural = _("clicks")
        indexes = [
            models.Index(fields=["order_id", "id"], name="shop_click_of_order"),
        ]

    def __str__(self) -> str:
        return f"click to {self.action} at {self.received_at}: {self.outcome or 'no response'}"
