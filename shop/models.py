"""What the shop's pages keep: a customer's basket and, in the demo, the clicks that arrived."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _
from uuid_utils.compat import uuid7

from orders.models import Order


class Basket(models.Model):
    """What a customer is about to order. Its id is the key of the order: it becomes one, once."""

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


class Click(models.Model):
    """A click that reached the server, written down on arrival and again with its answer.

    Outside of the transaction that it is about: a click whose process was killed stays here
    without an answer. Only where CLICKS_ARE_KEPT; a replay over the API writes nothing ever.
    """

    class Told(models.TextChoices):
        """What the click came to."""

        EXECUTED = "executed"
        REPLAYED = "replayed"
        REFUSED = "refused"

    customer = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+"
    )
    wanted = models.CharField(max_length=5)  # order | pay
    order_id = models.UUIDField(null=True)
    key = models.CharField(max_length=16)  # its beginning: it can be recognised, and not be sent
    request_id = models.CharField(max_length=128)
    arrived_at = models.DateTimeField(db_default=Now())
    answered_at = models.DateTimeField(null=True)
    told = models.CharField(max_length=8, choices=Told, blank=True)
    reason = models.CharField(max_length=64, blank=True)
    steps = models.JSONField(default=list)  # [name of the step, rows, milliseconds]

    class Meta:
        verbose_name = _("click")
        verbose_name_plural = _("clicks")
        indexes = [
            models.Index(fields=["order_id", "id"], name="shop_click_of_order"),
        ]

    def __str__(self) -> str:
        return f"click to {self.wanted} at {self.arrived_at}: {self.told or 'no answer'}"
