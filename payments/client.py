"""The one door from orders to the payment system: in this process, or over the network.

In this process its functions run at once, inside the caller's transaction. Over the network
(PAYMENTS_URL) nothing of it may run in a transaction: the order system writes the request to its
outbox, and its relay sends it (`payments.remote`).
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from types import ModuleType
from typing import Any, Self
from uuid import UUID

from django.conf import settings
from django.utils.dateparse import parse_datetime

from payments.errors import AccountNotFound, CurrencyMismatch, PaymentMismatch

__all__ = [
    "AccountNotFound",
    "CurrencyMismatch",
    "Debit",
    "Funds",
    "Payment",
    "PaymentMismatch",
    "account_with_most",
    "accounts_of",
    "check_account",
    "debit_of",
    "find",
    "is_remote",
    "pay",
]

SUCCEEDED = "succeeded"
OUTCOMES = frozenset({SUCCEEDED, "declined"})


@dataclass(frozen=True)
class Payment:
    """A payment as the order system knows it: a value, not a row."""

    id: UUID
    order_id: UUID
    account_id: int | None  # None: declined before any account was charged
    amount: int
    currency: str
    outcome: str
    created_at: datetime

    @classmethod
    def of(cls, row: Any) -> Self:
        """Read the value off anything with these attributes."""
        return cls(**{name: getattr(row, name) for name in cls.__dataclass_fields__})

    @classmethod
    def parsed(cls, document: Any) -> Self:
        """Read the value off a JSON document.

        :raises ValueError: it describes no payment
        """
        try:
            created_at = parse_datetime(document["created_at"])
            if created_at is None or document["outcome"] not in OUTCOMES:
                raise ValueError("without a time, or an outcome")
            account_id = document["account_id"]
            if account_id is None and document["outcome"] == SUCCEEDED:
                raise ValueError("it charged nobody")
            return cls(
                id=UUID(document["id"]),
                order_id=UUID(document["order_id"]),
                account_id=None if account_id is None else int(account_id),
                amount=int(document["amount"]),
                currency=str(document["currency"]),
                outcome=document["outcome"],
                created_at=created_at,
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("this is no payment") from error

    @property
    def succeeded(self) -> bool:
        return self.outcome == SUCCEEDED

    @property
    def is_given_up(self) -> bool:
        """Whether it was declined before any account was charged."""
        return self.account_id is None


def is_remote() -> bool:
    """Return True if the payment system is another process, behind a network."""
    return bool(settings.PAYMENTS_URL)


def pay(*, order_id: UUID, account_id: int, amount: int, currency: str, customer: str) -> Payment:
    """Make an order's payment, or return how it went; repeated calls return the first result.

    :param customer: user name of whoever pays
    :raises PaymentMismatch: the order id was paid with other arguments
    :raises AccountNotFound: no such account, or it is another customer's
    :raises CurrencyMismatch: the account is kept in another currency
    """
    paid = _local().pay(
        order_id=order_id,
        account_id=account_id,
        amount=amount,
        currency=currency,
        customer=customer,
    )
    return Payment.of(paid.payment)


def check_account(*, owner: Any, account_id: int) -> None:
    """Make sure that an account is the owner's.

    :raises AccountNotFound: there is no such account, or it is another customer's
    """
    _local().check_owner(owner=owner, account_id=account_id)


def account_with_most(*, owner: Any, currency: str) -> int:
    """Return the owner's account in a currency that holds the most: the one to offer to charge.

    :raises AccountNotFound: the owner has none in this currency, or none that is known here
    """
    if is_remote():
        raise AccountNotFound
    account_id: int = _local().account_with_most(owner=owner, currency=currency)
    return account_id


@dataclass(frozen=True)
class Funds:
    """An account that can be paid from, and what it holds, in minor units."""

    id: int
    currency: str
    balance: int


def accounts_of(*, owner: Any, currency: str) -> list[Funds] | None:
    """Return the owner's accounts in a currency; None where only the payment system knows them."""
    if is_remote():
        return None
    rows = _local().accounts_of(owner=owner, currency=currency)
    return [Funds(row.pk, row.currency, row.balance) for row in rows]


def find(order_ids: Collection[UUID]) -> dict[UUID, Payment]:
    """Return the payments of those of the orders that have one, in one query."""
    return {row.order_id: Payment.of(row) for row in _local().find(order_ids)}


@dataclass(frozen=True)
class Debit:
    """The ledger entry of a payment on the customer's account, in minor units."""

    entry_id: int
    balance_before: int
    balance_after: int


def debit_of(order_id: UUID) -> Debit | None:
    """Return the entry by which an order was charged; None: it was not, or not in this process."""
    entry = None if is_remote() else _local().debit_of(order_id)
    return entry and Debit(entry.pk, entry.balance_after - entry.amount, entry.balance_after)


def _local() -> ModuleType:
    from payments import services  # noqa: PLC0415 - its tables are not in every process

    return services
