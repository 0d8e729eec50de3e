"""The one door from orders to the payment system. Today it leads to the same process."""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from payments import services
from payments.errors import AccountNotFound, CurrencyMismatch, PaymentMismatch
from payments.models import Account, Payment

__all__ = [
    "AccountNotFound",
    "CurrencyMismatch",
    "Payment",
    "PaymentMismatch",
    "account_with_most",
    "check_account",
    "find",
    "pay",
]


def pay(*, order_id: UUID, account_id: int, amount: int, currency: str) -> Payment:
    """Have an order's payment made, or learn how it went; repeats return the first result.

    :raises PaymentMismatch: the order id was paid with other arguments
    :raises AccountNotFound: no such account
    :raises CurrencyMismatch: the account is kept in another currency
    """
    paid = services.pay(order_id=order_id, account_id=account_id, amount=amount, currency=currency)
    return paid.payment


def check_account(*, owner: Any, account_id: int) -> None:
    """Make sure that an account is the owner's.

    :raises AccountNotFound: there is no such account, or it is another customer's
    """
    if not Account.objects.filter(pk=account_id, owner=owner).exists():
        raise AccountNotFound


def account_with_most(*, owner: Any, currency: str) -> int:
    """Return the owner's account in a currency that holds the most: the one to offer to charge.

    :raises AccountNotFound: the owner has none in this currency
    """
    accounts = Account.objects.filter(owner=owner, currency=currency)
    richest = accounts.order_by("-balance", "id").values_list("pk", flat=True).first()
    if richest is None:
        raise AccountNotFound
    return richest


def find(order_ids: Collection[UUID]) -> dict[UUID, Payment]:
    """Return the payments of those of the orders that have one, in one query."""
    return {payment.order_id: payment for payment in Payment.objects.filter(order_id__in=order_ids)}
