"""Accounts, payments and the ledger. Money is an integer in minor units beside its currency."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from uuid_utils.compat import uuid7


class Account(models.Model):
    """A customer's money; or, without an owner, a currency's settlement account.

    A customer's balance is in the row and never falls below zero. The settlement account
    has none: its balance is the sum of its entries, so no row is shared by all payments.
    """

    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        related_name="accounts",
        verbose_name=_("owner"),
    )
    currency = models.CharField(_("currency"), max_length=3)
    opening_balance = models.BigIntegerField(_("opening balance"), null=True, editable=False)
    balance = models.BigIntegerField(_("balance"), null=True, editable=False)
    created_at = models.DateTimeField(_("created at"), db_default=Now())

    class Meta:
        verbose_name = _("account")
        verbose_name_plural = _("accounts")
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
        return gettext("%(owner)s %(currency)s (account %(number)s)") % {
            "owner": self.owner if self.owner_id else gettext("settlement"),
            "currency": self.currency,
            "number": self.pk,
        }


class Payment(models.Model):
    """The one payment of an order id; its outcome is decided in the transaction of its birth."""

    class Outcome(models.TextChoices):
        SUCCEEDED = "succeeded", _("Succeeded")
        DECLINED = "declined", _("Declined")

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    order_id = models.UUIDField(_("order id"), unique=True)
    # Null: declined at the order system's request, before any account was charged.
    account = models.ForeignKey(
        Account,
        on_delete=models.PROTECT,
        null=True,
        related_name="payments",
        verbose_name=_("account"),
    )
    amount = models.BigIntegerField(_("amount"))
    currency = models.CharField(_("currency"), max_length=3)
    # Null only inside the transaction that decides; a deferred trigger refuses to commit a null.
    outcome = models.CharField(  # noqa: DJ001
        _("outcome"), max_length=9, choices=Outcome, null=True, editable=False
    )
    created_at = models.DateTimeField(_("created at"), db_default=Now())

    class Meta:
        verbose_name = _("payment")
        verbose_name_plural = _("payments")
        permissions = [("charge", "Can charge accounts through the payment interface")]
        constraints = [
            models.CheckConstraint(condition=Q(amount__gt=0), name="payments_payment_positive"),
            models.CheckConstraint(
                condition=Q(outcome__in=["succeeded", "declined"]),
                name="payments_payment_known_outcome",
            ),
            models.CheckConstraint(
                condition=Q(account__isnull=False) | Q(outcome="declined"),
                name="payments_payment_charges_an_account",
            ),
        ]

    def __str__(self) -> str:
        return gettext("payment of order %(order)s: %(outcome)s") % {
            "order": self.order_id,
            "outcome": self.outcome_in_words,
        }

    @property
    def outcome_in_words(self) -> str:
        """The outcome in the language of the page, as it stands in the middle of a sentence."""
        return str(self.get_outcome_display()).lower()

    @property
    def succeeded(self) -> bool:
        return self.outcome == self.Outcome.SUCCEEDED


class Entry(models.Model):
    """One leg of a movement (流水): inserted with its counterpart, never updated, never deleted.

    It is checked when it is written: it is one of its payment's two legs, and leads to the balance
    that its account has by then, so the balance moves first.

    Payment and account are checked by a trigger, which reads both anyway, not by foreign keys: a
    key check would lock the settlement account's row in every payment. Neither is ever deleted, so
    the check holds.
    """

    payment = models.ForeignKey(
        Payment,
        on_delete=models.PROTECT,
        related_name="entries",
        db_constraint=False,
        db_index=False,  # the unique constraint's index begins with it
        verbose_name=_("payment"),
    )
    account = models.ForeignKey(
        Account,
        on_delete=models.PROTECT,
        related_name="entries",
        db_constraint=False,
        db_index=False,  # `payments_entry_statement` begins with it
        verbose_name=_("account"),
    )
    amount = models.BigIntegerField(_("amount"))
    currency = models.CharField(_("currency"), max_length=3)
    # Filled in by the database, which checks the chain of balances; null for settlement.
    balance_after = models.BigIntegerField(_("balance after"), null=True, editable=False)
    created_at = models.DateTimeField(_("created at"), db_default=Now())

    class Meta:
        verbose_name = _("entry")
        verbose_name_plural = _("entries")
        constraints = [
            models.CheckConstraint(condition=~Q(amount=0), name="payments_entry_moves_money"),
            models.UniqueConstraint(
                fields=["payment", "account"], name="payments_entry_one_leg_per_account"
            ),
        ]
        indexes = [models.Index(F("account"), F("id").desc(), name="payments_entry_statement")]

    def __str__(self) -> str:
        return f"{self.amount:+d} {self.currency}"
