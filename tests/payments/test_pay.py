"""`pay(order_id, account_id, amount, currency)`: the first call decides, all others read."""

from collections import Counter
from collections.abc import Callable
from contextlib import closing
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection

from payments.errors import AccountNotFound, CurrencyMismatch, PaymentMismatch
from payments.models import Account, Entry, Payment
from payments.services import Paid, check_owner, debit_of, decline, find, open_account, pay
from tests.conftest import OPENING
from tests.support.together import together


@pytest.fixture
def charge(alice_account: Account) -> Callable[..., Paid]:
    def charge(order_id: UUID, **changed: object) -> Paid:
        terms = {"account_id": alice_account.pk, "amount": 700, "currency": "EUR"}
        return pay(order_id=order_id, **(terms | changed))  # type: ignore[arg-type]

    return charge


def balance(account: Account) -> int | None:
    return Account.objects.get(pk=account.pk).balance


def test_the_first_call_charges_and_the_second_returns_its_result(alice_account: Account) -> None:
    order_id = uuid4()
    terms = {"account_id": alice_account.pk, "amount": 700, "currency": "EUR"}

    first = pay(order_id=order_id, **terms)  # type: ignore[arg-type]
    second = pay(order_id=order_id, **terms)  # type: ignore[arg-type]

    assert (first.first, second.first) == (True, False)
    assert first.payment.pk == second.payment.pk
    assert first.payment.succeeded
    assert balance(alice_account) == OPENING - 700


@pytest.mark.django_db(transaction=True)
def test_a_later_call_does_not_wait_for_the_account(
    charge: Callable[..., Paid], alice_account: Account
) -> None:
    """Else each retry would wait behind everybody who pays from a busy account."""
    first = charge(order_id := uuid4())
    other = connection.copy()
    other.set_autocommit(False)
    with closing(other), other.cursor() as cursor:
        cursor.execute("SELECT FROM payments_account WHERE id = %s FOR UPDATE", [alice_account.pk])
        with connection.cursor() as own:
            own.execute("SET lock_timeout = '1ms'")
        try:
            with pytest.raises(OperationalError, match="lock timeout"):
                charge(uuid4())
            assert charge(order_id).payment.pk == first.payment.pk
        finally:
            connection.close()


def test_a_declined_payment_stays_declined_when_the_money_arrives_later(
    alice: User, alice_account: Account
) -> None:
    poor = open_account(owner=alice, currency="EUR", opening_balance=699)
    order_id = uuid4()

    first = pay(order_id=order_id, account_id=poor.pk, amount=700, currency="EUR")
    second = pay(order_id=order_id, account_id=poor.pk, amount=700, currency="EUR")

    assert first.payment.outcome == second.payment.outcome == "declined"
    assert not Entry.objects.filter(payment=first.payment).exists()
    assert balance(poor) == 699


def test_the_last_cent_can_be_spent(alice: User) -> None:
    account = open_account(owner=alice, currency="EUR", opening_balance=700)
    paid = pay(order_id=uuid4(), account_id=account.pk, amount=700, currency="EUR")
    assert paid.payment.succeeded
    assert balance(account) == 0


@pytest.mark.parametrize("changed", ["account_id", "amount", "currency"])
def test_an_order_id_used_with_other_arguments_is_a_mismatch(
    changed: str, charge: Callable[..., Paid], alice: User, alice_account: Account
) -> None:
    other = open_account(owner=alice, currency="EUR", opening_balance=5_000)
    values = {"account_id": other.pk, "amount": 701, "currency": "USD"}
    order_id = uuid4()
    charge(order_id)

    with pytest.raises(PaymentMismatch):
        charge(order_id, **{changed: values[changed]})

    assert Payment.objects.count() == 1
    assert (balance(alice_account), balance(other)) == (OPENING - 700, 5_000)


def test_an_unknown_account_is_not_a_decline(charge: Callable[..., Paid]) -> None:
    with pytest.raises(AccountNotFound):
        charge(uuid4(), account_id=10**9)
    assert not Payment.objects.exists()


def test_the_settlement_account_pays_nobody(charge: Callable[..., Paid]) -> None:
    settlement = Account.objects.get(owner=None, currency="EUR")
    with pytest.raises(AccountNotFound):
        charge(uuid4(), account_id=settlement.pk)
    assert not Payment.objects.exists()


def test_an_account_of_another_currency_is_not_a_decline(
    charge: Callable[..., Paid], alice_account: Account
) -> None:
    with pytest.raises(CurrencyMismatch):
        charge(uuid4(), currency="USD")
    assert not Payment.objects.exists()
    assert balance(alice_account) == OPENING


def test_the_legs_of_a_payment_sum_to_zero_and_carry_the_balance(
    charge: Callable[..., Paid], alice_account: Account
) -> None:
    charge(uuid4())
    charge(uuid4())

    entries = Entry.objects.order_by("id")
    assert sum(entry.amount for entry in entries) == 0
    statement = entries.filter(account=alice_account)
    assert [entry.balance_after for entry in statement] == [OPENING - 700, OPENING - 1400]
    assert {entry.balance_after for entry in entries.exclude(account=alice_account)} == {None}


def test_a_customer_who_is_named_must_be_the_owner_of_the_account(
    alice_account: Account, bob_account: Account
) -> None:
    order_id = uuid4()
    terms: dict[str, Any] = {"order_id": order_id, "amount": 500, "currency": "EUR"}
    with pytest.raises(AccountNotFound):
        pay(account_id=bob_account.pk, customer="alice", **terms)
    assert not Payment.objects.exists()
    assert pay(account_id=alice_account.pk, customer="alice", **terms).first
    assert not pay(account_id=alice_account.pk, customer="a new name", **terms).first


def test_what_is_declined_first_is_never_charged_from_any_account(
    alice_account: Account, bob_account: Account
) -> None:
    terms: dict[str, Any] = {"order_id": uuid4(), "amount": 700, "currency": "EUR"}

    first, second = (decline(account_id=999_999_999, **terms) for _ in range(2))
    late = [pay(account_id=account.pk, **terms) for account in (alice_account, bob_account)]

    assert [each.first for each in (first, second, *late)] == [True, False, False, False]
    assert {each.payment for each in (second, *late)} == {first.payment}
    assert (first.payment.outcome, first.payment.account_id) == ("declined", None)
    assert balance(alice_account) == balance(bob_account) == OPENING
    assert not Entry.objects.exists()


@pytest.mark.parametrize("changed", [{"amount": 701}, {"currency": "USD"}])
def test_what_is_declined_is_declined_on_its_amount(
    changed: dict[str, Any], alice_account: Account
) -> None:
    order_id, account_id = uuid4(), alice_account.pk
    terms: dict[str, Any] = {"account_id": account_id, "amount": 700, "currency": "EUR"}
    decline(order_id=order_id, **terms)
    for decide in (decline, pay):
        with pytest.raises(PaymentMismatch):
            decide(order_id=order_id, **terms | changed)


def test_what_was_charged_is_not_declined(
    charge: Callable[..., Paid], alice_account: Account, bob_account: Account
) -> None:
    paid = charge(order_id := uuid4())
    terms: dict[str, Any] = {"order_id": order_id, "amount": 700, "currency": "EUR"}

    declined = decline(account_id=alice_account.pk, **terms)

    assert (declined.payment, declined.first) == (paid.payment, False)
    assert declined.payment.succeeded
    with pytest.raises(PaymentMismatch):
        decline(account_id=bob_account.pk, **terms)


@pytest.mark.django_db(transaction=True)
def test_of_a_charge_and_a_decline_at_once_one_decides(alice_account: Account) -> None:
    terms: dict[str, Any] = {"account_id": alice_account.pk, "amount": 1, "currency": "EUR"}
    outcomes: Counter[str | None] = Counter()
    for _ in range(20):
        order_id = uuid4()
        calls = [pay, decline]
        results = together(10, lambda n: calls[n % 2](order_id=order_id, **terms))  # noqa: B023
        assert len({each.payment.pk for each in results}) == 1
        assert sum(each.first for each in results) == 1
        outcomes[results[0].payment.outcome] += 1

    assert balance(alice_account) == OPENING - outcomes["succeeded"]
    assert outcomes["succeeded"], "or nothing was ever charged"
    assert outcomes["declined"], "or nothing was ever declined first"


def test_an_account_is_its_owners_only(
    alice: User, bob: User, alice_account: Account, bob_account: Account
) -> None:
    check_owner(account_id=alice_account.pk, owner=alice)
    check_owner(account_id=bob_account.pk, owner__username="bob")
    for owner in ({"owner": bob}, {"owner__username": "bob"}):
        with pytest.raises(AccountNotFound):
            check_owner(account_id=alice_account.pk, **owner)


def test_the_payments_and_the_debit_of_an_order_are_its_own(
    charge: Callable[..., Paid], alice_account: Account
) -> None:
    """The debit is the leg on the customer's account, not the one on the settlement account."""
    first, second = (charge(uuid4()).payment for _ in range(2))

    assert list(find([second.order_id])) == [second]
    for payment in (first, second):
        debit = debit_of(payment.order_id)
        assert debit is not None
        assert (debit.payment, debit.account, debit.amount) == (payment, alice_account, -700)
    assert debit_of(uuid4()) is None
