"""Products, orders and their state machine."""

from typing import ClassVar

from django.conf import settings
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import F, Func, Q, Value
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.translation import gettext, pgettext
from django.utils.translation import gettext_lazy as _
from django_fsm import ConcurrentTransitionMixin, FSMIntegerField, transition
from uuid_utils.compat import uuid7

# The last group of an id, backwards, for its end to be a range. An id's beginning is a time.
ID_FROM_ITS_END = Func(
    F("id"),
    template='(reverse(right(%(expressions)s::text, 12)) COLLATE "C")',
    output_field=models.TextField(),
)


class Product(models.Model):
    """What can be ordered, and its price in minor units of the currency."""

    sku = models.CharField(_("sku"), max_length=64, unique=True)
    name = models.CharField(_("name"), max_length=200)
    price = models.BigIntegerField(_("price"), validators=[MinValueValidator(1)])
    currency = models.CharField(_("currency"), max_length=3)

    class Meta:
        verbose_name = _("product")
        verbose_name_plural = _("products")
        constraints = [
            models.CheckConstraint(
                condition=Q(price__range=(1, 10**12)), name="orders_product_price"
            ),
            models.CheckConstraint(
                condition=Q(currency__regex=r"^[A-Z]{3}$"), name="orders_product_iso_4217"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Order(ConcurrentTransitionMixin, models.Model):
    """What a customer wants to buy.

    The methods below only declare the transitions of the state machine; the service takes one by a
    conditional UPDATE (`orders.services.advance`), and a trigger refuses every other transition.
    The mixin is the guard against a stale `save()`, which no code of ours calls.
    """

    class Status(models.IntegerChoices):
        SUBMITTED = 0, _("Submitted")
        PAYING = 1, _("Paying")
        PAID = 2, _("Paid")
        FAILED = 3, _("Failed")

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    customer = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        related_name="orders",
        db_index=False,  # `orders_order_own_newest` begins with it
        verbose_name=_("customer"),
    )
    status = FSMIntegerField(
        _("status"), choices=Status.choices, default=Status.SUBMITTED, editable=False
    )
    amount = models.BigIntegerField(_("amount"))
    currency = models.CharField(_("currency"), max_length=3)
    # The account that the customer pays from, in the payment system's terms: set by 0→1.
    account_id = models.BigIntegerField(null=True, editable=False)
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)
    updated_at = models.DateTimeField(_("updated at"), default=timezone.now, editable=False)

    class Meta:
        verbose_name = _("order")
        verbose_name_plural = _("orders")
        constraints = [
            models.CheckConstraint(condition=Q(amount__gt=0), name="orders_order_positive"),
            models.CheckConstraint(
                condition=Q(status__in=[0, 1, 2, 3]), name="orders_order_known_status"
            ),
            models.CheckConstraint(
                condition=Q(status=0, account_id__isnull=True)
                | Q(status__gt=0, account_id__isnull=False),
                name="orders_order_account_from_paying_on",
            ),
        ]
        indexes = [
            models.Index(fields=["customer", "-id"], name="orders_order_own_newest"),
            models.Index(
                fields=["updated_at"], condition=Q(status=1), name="orders_order_still_paying"
            ),
            models.Index(fields=["amount", "-id"], name="orders_order_amount"),
            models.Index(ID_FROM_ITS_END, name="orders_order_id_end"),
        ]

    def __str__(self) -> str:
        return gettext("order %(order)s") % {"order": self.pk}

    @cached_property
    def loaded_lines(self) -> list["OrderLine"]:
        """Its lines: those that came with it, or are prefetched, else those of a query."""
        return list(self.lines.all())

    @transition(field=status, source=Status.SUBMITTED, target=Status.PAYING)
    def start_paying(self) -> None: ...

    @transition(field=status, source=Status.PAYING, target=Status.PAID)
    def complete(self) -> None: ...

    @transition(field=status, source=Status.PAYING, target=Status.FAILED)
    def fail(self) -> None: ...


class OrderLine(models.Model):
    """A product as it was when ordered: later price changes don't reach it."""

    order = models.ForeignKey(
        Order, on_delete=models.PROTECT, related_name="lines", verbose_name=_("order")
    )
    product = models.ForeignKey(
        Product, on_delete=models.PROTECT, related_name="+", verbose_name=_("product")
    )
    sku = models.CharField(_("sku"), max_length=64)
    name = models.CharField(_("name"), max_length=200)
    quantity = models.IntegerField(_("quantity"))
    unit_price = models.BigIntegerField(_("unit price"))

    class Meta:
        verbose_name = _("order line")
        verbose_name_plural = _("order lines")
        constraints = [
            models.CheckConstraint(
                condition=Q(quantity__gt=0, unit_price__gt=0), name="orders_orderline_positive"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.quantity} × {self.name}"

    @property
    def amount(self) -> int:
        return self.quantity * self.unit_price


class StatusChange(models.Model):
    """One transition of an order, written by a database trigger with the change itself.

    By nothing else, and no order is ever deleted: a foreign key would check what can't be wrong.
    """

    order = models.ForeignKey(
        Order,
        on_delete=models.PROTECT,
        related_name="history",
        db_constraint=False,
        db_index=False,  # the unique constraint's index begins with it
        verbose_name=_("order"),
    )
    source = models.SmallIntegerField(_("source"), choices=Order.Status.choices)
    target = models.SmallIntegerField(_("target"), choices=Order.Status.choices)
    at = models.DateTimeField(_("at"), db_default=Now())

    class Meta:
        verbose_name = _("status change")
        verbose_name_plural = _("status changes")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["order", "source"], name="orders_statuschange_once"),
            models.CheckConstraint(
                condition=Q(source=0, target=1) | Q(source=1, target__in=[2, 3]),
                name="orders_statuschange_legal_transition",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.source}→{self.target}"


class PaymentRequest(models.Model):
    """The outbox: a payment to request from another process, and the result.

    Written with the transition 0→1 in one commit, closed with the one to 2 or 3 in another: what an
    order still waits for is here, whoever was killed. The bytes to send never change.
    """

    order = models.OneToOneField(
        Order,
        on_delete=models.PROTECT,
        primary_key=True,
        related_name="payment_request",
        verbose_name=_("order"),
    )
    body = models.BinaryField(editable=False)
    # What the customer's request was called, for the logs of both systems.
    request_id = models.CharField(_("request id"), max_length=128, blank=True)
    key_digest = models.CharField(_("key digest"), max_length=12, blank=True)
    created_at = models.DateTimeField(_("created at"), db_default=Now())
    due_at = models.DateTimeField(_("due at"), db_default=Now())
    attempts = models.PositiveIntegerField(_("attempts"), default=0)
    # The relay that works on it: free again as soon as that one's session has ended.
    claimed_by = models.IntegerField(_("claimed by"), null=True)
    last_error = models.TextField(
        _("last error"), blank=True, help_text=_("why it isn't settled yet")
    )
    # Refused: nothing is sent any more until somebody has looked.
    dead_lettered = models.BooleanField(_("dead-lettered"), default=False)
    # Given up: the payment system is asked to decline it instead, which settles the order.
    given_up_by = models.CharField(_("given up by"), max_length=150, blank=True, db_default="")
    given_up_reason = models.TextField(_("reason"), blank=True, db_default="")
    # What relays have called: when, which call, its outcome, and why that is unknown or a refusal.
    calls = models.JSONField(_("calls"), db_default=Value([], models.JSONField()))
    response = models.JSONField(_("response"), null=True)
    settled_at = models.DateTimeField(_("settled at"), null=True)

    class Meta:
        verbose_name = _("payment request")
        verbose_name_plural = _("payment requests")
        constraints = [
            models.CheckConstraint(
                condition=Q(response__isnull=True, settled_at__isnull=True)
                | Q(response__isnull=False, settled_at__isnull=False, dead_lettered=False),
                name="orders_paymentrequest_settled_with_its_response",
            ),
            models.CheckConstraint(
                condition=Q(given_up_by="", given_up_reason="")
                | ~Q(given_up_by="") & ~Q(given_up_reason=""),
                name="orders_paymentrequest_given_up_with_a_reason",
            ),
        ]
        indexes = [
            models.Index(
                fields=["due_at"],
                condition=Q(settled_at__isnull=True, dead_lettered=False),
                name="orders_paymentrequest_due",
            ),
            models.Index(
                fields=["attempts"],
                condition=Q(attempts__gt=1) | Q(dead_lettered=True),
                name="orders_paymentrequest_aside",
            ),
            models.Index(
                fields=["request_id"],
                condition=~Q(request_id=""),
                name="orders_paymentrequest_request",
            ),
        ]

    def __str__(self) -> str:
        state = (
            gettext("settled")
            if self.settled_at
            else gettext("dead-lettered")
            if self.dead_lettered
            else pgettext("payment request", "open")
        )
        return gettext("payment of order %(order)s: %(outcome)s") % {
            "order": self.pk,
            "outcome": state,
        }
