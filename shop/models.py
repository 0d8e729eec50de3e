"""A customer's baskets."""

from django.conf import settings
from django.db import models
from django.db.models import Q
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
