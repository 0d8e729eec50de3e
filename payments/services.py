"""The payment system: the only writer of payments, entries and balances."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import F, QuerySet
from uuid_utils.compat import uuid7

from idempotency.failpoints import failpoint
from idempotency.steps import step
from payments.errors import AccountNotFound, CurrencyMismatch, PaymentMismatch
from payments.models import Account, Entry, Payment

_COLUMNS = [field.attname for field in Payment._meta.concrete_fields]

# One statement, three races. `account`: its row is locked until the commit, so that of payments
# from one account one at a time decides. `claimed`: the order id is UNIQUE, so that of any number
# of simultaneous calls one inserts; the others wait for its commit, insert nothing, and read on.
# `debited`: the WHERE takes no money that is not there.
PAY = f"""
WITH earlier AS (
    SELECT * FROM payments_payment WHERE order_id = %(order_id)s),
account AS (
    SELECT id, balance FROM payments_account
     WHERE id = %(account_id)s AND currency = %(currency)s AND owner_id IS NOT NULL
       AND (%(customer)s::text IS NULL
            OR owner_id = (SELECT id FROM auth_user WHERE username = %(customer)s))
       AND NOT EXISTS (SELECT FROM earlier)
       FOR NO KEY UPDATE),
claimed AS (
    INSERT INTO payments_payment (id, order_id, account_id, amount, currency, outcome)
    SELECT %(id)s, %(order_id)s, account.id, %(amount)s, %(currency)s,
           CASE WHEN balance >= %(amount)s THEN 'succeeded' ELSE 'declined' END
      FROM account
        ON CONFLICT (order_id) DO NOTHING
    RETURNING *),
debited AS (
    UPDATE payments_account SET balance = balance - %(amount)s
     WHERE id = %(account_id)s AND balance >= %(amount)s
       AND EXISTS (SELECT FROM claimed WHERE outcome = 'succeeded')
    RETURNING id),
entries AS (
    INSERT INTO payments_entry (payment_id, account_id, amount, currency)
    SELECT %(id)s, leg.account_id, leg.amount, %(currency)s
      FROM debited CROSS JOIN LATERAL (VALUES
               (debited.id, -%(amount)s::bigint),
               ((SELECT id FROM payments_account WHERE owner_id IS NULL
                    AND currency = %(currency)s), %(amount)s)) AS leg (account_id, amount))
SELECT {", ".join(_COLUMNS)} FROM earlier UNION ALL SELECT {", ".join(_COLUMNS)} FROM claimed
"""  # noqa: S608 - the names of columns


@dataclass(frozen=True)
class Paid:
    """The one payment of an order id, and whether this call was the one that made it."""

    payment: Payment
    first: bool


def pay(
    *, order_id: UUID, account_id: int, amount: int, currency: str, customer: str | None = None
) -> Paid:
    """Charge an account for an order once; every later call returns the first result.

    Where it raises, nothing has changed. (The articles' `pay(orderId, accountId, amount)`.)

    :param amount: minor units, above zero
    :param customer: user name of whoever pays, where the account has to be theirs
    :raises PaymentMismatch: the order id was used with other arguments
    :raises AccountNotFound: no such account, or it is not the customer's
    :raises CurrencyMismatch: the account is kept in another currency
    """
    terms: dict[str, Any] = {"account_id": account_id, "amount": amount, "currency": currency}
    made = uuid7()
    with step("charged") as charged, connection.cursor() as cursor:
        cursor.execute(PAY, terms | {"id": made, "order_id": order_id, "customer": customer})
        row = cursor.fetchone()
        payment = Payment.from_db(connection.alias, _COLUMNS, row) if row else None
        first = payment is not None and payment.pk == made
        charged.rows = int(payment is not None and first and payment.succeeded)
    if payment is None:  # another call was faster by a hair, or the account can't be charged
        payment = Payment.objects.filter(order_id=order_id).first()
    if payment is None:
        raise _refusal(account_id, customer)
    if first:
        failpoint("payment-decided")
    else:
        _check_terms(payment, terms)
    return Paid(payment, first)


def decline(
    *, order_id: UUID, account_id: int, amount: int, currency: str, customer: str | None = None
) -> Paid:
    """Decline an order's payment before anything is charged; see `pay` for the parameters.

    A payment that was made before stays as it is, and is returned; so does this one from then on,
    from any account, which does not even have to exist. UNIQUE decides a race with `pay`.

    :raises PaymentMismatch: the order id was used with other arguments
    """
    declined = Payment(
        order_id=order_id, amount=amount, currency=currency, outcome=Payment.Outcome.DECLINED
    )
    Payment.objects.bulk_create([declined], ignore_conflicts=True)
    payment = Payment.objects.get(order_id=order_id)
    _check_terms(payment, {"account_id": account_id, "amount": amount, "currency": currency})
    return Paid(payment, first=payment.pk == declined.pk)


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


def debit_of(order_id: UUID) -> Entry | None:
    """Return the customer's leg of an order's payment, or None."""
    legs = Entry.objects.filter(payment__order_id=order_id)
    return legs.filter(account=F("payment__account")).first()


def _check_terms(payment: Payment, terms: dict[str, Any]) -> None:
    """Make sure that a payment is on the terms that are asked for; without an account, on any's.

    :raises PaymentMismatch: one of them differs
    """
    if payment.account_id is None:
        terms = terms | {"account_id": None}
    if any(getattr(payment, term) != wanted for term, wanted in terms.items()):
        raise PaymentMismatch(payment)


def _refusal(account_id: int, customer: str | None) -> Exception:
    """Return why an account can't be charged at all, which is no lack of money."""
    owned = Account.objects.filter(pk=account_id).exclude(owner=None)
    if customer is not None:
        owned = owned.filter(owner__username=customer)
    return CurrencyMismatch() if owned.exists() else AccountNotFound()
