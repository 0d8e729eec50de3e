"""Accounts, payments and the ledger. Money is an integer in minor units beside its currency."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from uuid_utils.compat import uuid7


class Account(models.Model):
    """A customer's money; or, without an owner, a currency's settlement account.

    A customer's balance is kept in the row and never falls below zero. The settlement account
    keeps none: its balance is the sum of its entries, so no row is shared by all payments.
    """

    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="accounts"
    )
    currency = models.CharField(max_length=3)
    opening_balance = models.BigIntegerField(null=True, editable=False)
    balance = models.BigIntegerField(null=True, editable=False)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(balance__isnull=True) | Q(balance__gte=0),
                name="payments_account_never_negative",
            ),
            models.CheckConstraint(
                condition=Q(owner__isnull=True, balance__isnull=True, opening_balance__isnull=True)
                | Q(owner__isnull=False, balance__isnull=False, opening_balance__gte=0),
                name="payments_account_customer_or_settlement",
            ),
            models.UniqueConstraint(
                fields=["currency"],
                condition=Q(owner__isnull=True),
                name="payments_account_one_settlement_per_currency",
            ),
            models.CheckConstraint(
                condition=Q(currency__regex=r"^[A-Z]{3}$"), name="payments_account_iso_4217"
            ),
        ]

    def __str__(self) -> str:
        owner = self.owner if self.owner_id else "settlement"
        return f"{owner} {self.currency} (account {self.pk})"


class Payment(models.Model):
    """The one payment of an order id; its outcome is decided in the transaction of its birth."""

    class Outcome(models.TextChoices):
        SUCCEEDED = "succeeded"
        DECLINED = "declined"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    order_id = models.UUIDField(unique=True)
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="payments")
    amount = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    # Null only inside the transaction that decides; a deferred trigger refuses to commit a null.
    outcome = models.CharField(max_length=9, choices=Outcome, null=True, editable=False)  # noqa: DJ001
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        permissions = [("charge", "Can charge accounts through the payment interface")]
        constraints = [
            models.CheckConstraint(condition=Q(amount__gt=0), name="payments_payment_positive"),
            models.CheckConstraint(
                condition=Q(outcome__in=["succeeded", "declined"]),
                name="payments_payment_known_outcome",
            ),
        ]

    def __str__(self) -> str:
        return f"payment of order {self.order_id}: {self.outcome}"

    @property
    def succeeded(self) -> bool:
        return self.outcome == self.Outcome.SUCCEEDED


class Entry(models.Model):
    """One leg of a movement (流水): inserted with its counterpart, never updated, never deleted.

    The account is checked by a trigger, not by a foreign key: a key check would lock the
    settlement account's row in every payment. Accounts are never deleted, so the check holds.
    """

    payment = models.ForeignKey(Payment, on_delete=models.PROTECT, related_name="entries")
    account = models.ForeignKey(
        Account, on_delete=models.PROTECT, related_name="entries", db_constraint=False
    )
    amount = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    # Filled in by the database, which checks the chain of balances; null for settlement.
    balance_after = models.BigIntegerField(null=True, editable=False)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name_plural = "entries"
        constraints = [
            models.CheckConstraint(condition=~Q(amount=0), name="payments_entry_moves_money"),
            models.UniqueConstraint(
                fields=["payment", "account"], name="payments_entry_one_leg_per_account"
            ),
        ]
        indexes = [models.Index(F("account"), F("id").desc(), name="payments_entry_statement")]

    def __str__(self) -> str:
        return f"{self.amount:+d} {self.currency}"
