"""The payment system: the only writer of payments, entries and balances."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F, QuerySet

from idempotency.failpoints import failpoint
from payments.errors import AccountNotFound, CurrencyMismatch, PaymentMismatch
from payments.models import Account, Entry, Payment


@dataclass(frozen=True)
class Paid:
    """The one payment of an order id, and whether this call was the one that made it."""

    payment: Payment
    first: bool


@transaction.atomic
def pay(
    *, order_id: UUID, account_id: int, amount: int, currency: str, customer: str | None = None
) -> Paid:
    """Charge an account for an order once; every later call returns the first result.

    The payment row is the claim: its UNIQUE order id lets one of any number of simultaneous
    calls insert it, the others wait for that one's commit and read what it decided. (The
    articles' `pay(orderId, accountId, amount)`.)

    :param amount: minor units, above zero
    :param customer: user name of whoever pays, where the caller hasn't checked whose account it is
    :raises PaymentMismatch: the order id was used with other arguments; nothing changes
    :raises AccountNotFound: no such account, or it is not the customer's
    :raises CurrencyMismatch: the account is kept in another currency
    """
    wanted = Payment(order_id=order_id, account_id=account_id, amount=amount, currency=currency)
    Payment.objects.bulk_create([wanted], ignore_conflicts=True)
    payment = Payment.objects.get(order_id=order_id)
    if payment.pk != wanted.pk:
        return Paid(_same(payment, wanted), first=False)
    failpoint("payment-claimed")
    if customer is not None:
        check_owner(owner__username=customer, account_id=account_id)
    if _debit(account_id=account_id, amount=amount, currency=currency):
        failpoint("debited")
        _record_entries(payment)
        payment.outcome = Payment.Outcome.SUCCEEDED
    else:
        _check_account(account_id, currency)
        payment.outcome = Payment.Outcome.DECLINED
    Payment.objects.filter(pk=payment.pk).update(outcome=payment.outcome)
    failpoint("payment-decided")
    return Paid(payment, first=True)


def open_account(*, owner: Any, currency: str, opening_balance: int) -> Account:
    """Open a customer's account, and with it the currency's settlement account if it is new.

    A repeated call opens another account.

    :param opening_balance: minor units, zero or above
    """
    Account.objects.get_or_create(owner=None, currency=currency)
    return Account.objects.create(
        owner=owner, currency=currency, opening_balance=opening_balance, balance=opening_balance
    )


def check_owner(*, account_id: int, **owner: Any) -> None:
    """Make sure that an account is somebody's: `owner=user`, or `owner__username=name`.

    :raises AccountNotFound: there is no such account, or it is another customer's
    """
    if not Account.objects.filter(pk=account_id, **owner).exists():
        raise AccountNotFound


def account_with_most(*, owner: Any, currency: str) -> int:
    """Return the owner's account in a currency that holds the most.

    :raises AccountNotFound: the owner has none in this currency
    """
    richest = accounts_of(owner=owner, currency=currency).first()
    if richest is None:
        raise AccountNotFound
    return richest.pk


def accounts_of(*, owner: Any, currency: str) -> QuerySet[Account]:
    """Return the owner's accounts in a currency, the one that holds the most first."""
    return Account.objects.filter(owner=owner, currency=currency).order_by("-balance", "id")


def find(order_ids: Collection[UUID]) -> QuerySet[Payment]:
    """Return the payments of those of the orders that have one."""
    return Payment.objects.filter(order_id__in=order_ids)


def _same(payment: Payment, wanted: Payment) -> Payment:
    terms = ("account_id", "amount", "currency")
    if any(getattr(payment, term) != getattr(wanted, term) for term in terms):
        raise PaymentMismatch(payment)
    return payment


def _debit(*, account_id: int, amount: int, currency: str) -> bool:
    """Take the money if it is there. The WHERE is the guard: the loser of a race matches no row."""
    account = Account.objects.filter(pk=account_id, currency=currency, balance__gte=amount)
    return account.update(balance=F("balance") - amount) == 1


def _record_entries(payment: Payment) -> None:
    settlement = Account.objects.get(owner=None, currency=payment.currency)
    legs = ((payment.account_id, -payment.amount), (settlement.pk, payment.amount))
    Entry.objects.bulk_create(
        Entry(payment=payment, account_id=account, amount=amount, currency=payment.currency)
        for account, amount in legs
    )


def _check_account(account_id: int, currency: str) -> None:
    """Tell an account that lacks money from one that can't be charged at all."""
    account = Account.objects.filter(pk=account_id).exclude(owner=None).first()
    if account is None:
        raise AccountNotFound
    if account.currency != currency:
        raise CurrencyMismatch
