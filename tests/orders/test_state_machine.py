"""Every status × transition: the declaration, the UPDATE and the database agree."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django_fsm import ConcurrentTransition, can_proceed

from orders.models import Order, StatusChange
from orders.services import advance, declared_by, pay_order
from payments.models import Account
from payments.services import pay

TRANSITIONS = {"start_paying": (0, 1), "complete": (1, 2), "fail": (1, 3)}
PATHS = {0: (), 1: ("start_paying",), 2: ("start_paying", "complete"), 3: ("start_paying", "fail")}


@pytest.fixture
def order_at(
    alice: User, alice_account: Account, place: Callable[..., Order]
) -> Callable[[int], Order]:
    """Bring an order to a status the legal way."""

    def order_at(status: int) -> Order:
        order = place(customer=alice)
        for name in PATHS[status]:
            changes: dict[str, Any] = {}
            if name == "start_paying":
                changes["account_id"] = alice_account.pk
            if name == "complete":
                charge(order, alice_account)
            assert advance(order.pk, getattr(Order, name), **changes)
        return order

    return order_at


def charge(order: Order, account: Account) -> None:
    pay(order_id=order.pk, account_id=account.pk, amount=order.amount, currency=order.currency)


def test_the_transitions_are_declared_once_and_read_from_there() -> None:
    assert {name: declared_by(getattr(Order, name)) for name in TRANSITIONS} == TRANSITIONS


@pytest.mark.parametrize("status", [0, 1, 2, 3])
@pytest.mark.parametrize("name", TRANSITIONS)
def test_a_transition_is_taken_from_its_source_only(
    status: int, name: str, order_at: Callable[[int], Order], alice_account: Account
) -> None:
    order = order_at(status)
    source, target = TRANSITIONS[name]
    changes: dict[str, Any] = {"account_id": alice_account.pk} if name == "start_paying" else {}
    if (status, target) == (1, 2):
        charge(order, alice_account)

    moved = advance(order.pk, getattr(Order, name), **changes)

    assert (moved and moved.status) == (target if status == source else None)
    assert can_proceed(getattr(Order(status=status), name)) is (status == source)
    assert Order.objects.get(pk=order.pk).status == (target if status == source else status)


@pytest.mark.parametrize("source", [0, 1, 2, 3])
@pytest.mark.parametrize("target", [0, 1, 2, 3, 4])
def test_the_database_refuses_every_other_transition(
    source: int, target: int, order_at: Callable[[int], Order], alice_account: Account
) -> None:
    order = order_at(source)
    legal = (source, target) in TRANSITIONS.values() or source == target
    account = None if target == 0 else alice_account.pk

    def update() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(
                "UPDATE orders_order SET status = %s, account_id = %s WHERE id = %s",
                [target, account, order.pk],
            )

    if (source, target) == (1, 2):
        charge(order, alice_account)
    if legal:
        update()
    else:
        with pytest.raises(IntegrityError):
            update()
    assert Order.objects.get(pk=order.pk).status == (target if legal else source)


def test_the_history_is_the_path_that_was_taken(order_at: Callable[[int], Order]) -> None:
    for status, path in PATHS.items():
        order = order_at(status)
        history = StatusChange.objects.filter(order=order).order_by("id")
        assert [(change.source, change.target) for change in history] == [
            TRANSITIONS[n] for n in path
        ]


def test_a_transition_is_taken_once_however_often_it_is_asked_for(
    order_at: Callable[[int], Order], alice_account: Account
) -> None:
    order = order_at(0)

    assert advance(order.pk, Order.start_paying, account_id=alice_account.pk) is not None
    assert advance(order.pk, Order.start_paying, account_id=alice_account.pk) is None
    assert StatusChange.objects.filter(order=order).count() == 1


def test_a_stale_save_is_refused(order_at: Callable[[int], Order], alice_account: Account) -> None:
    order = order_at(0)
    stale = Order.objects.get(pk=order.pk)
    advance(order.pk, Order.start_paying, account_id=alice_account.pk)

    stale.start_paying()
    with pytest.raises(ConcurrentTransition), transaction.atomic():
        stale.save()


def test_an_order_is_paid_with_its_own_lines_only(
    alice: User, alice_account: Account, order: Order, place: Callable[..., Order]
) -> None:
    place(customer=alice, quantity=7)

    paid = pay_order(customer=alice, order_id=order.pk, account_id=alice_account.pk).order

    assert [line.quantity for line in paid.loaded_lines] == [2]
    claimed = advance(place(customer=alice, quantity=3).pk, Order.start_paying, account_id=1)
    assert claimed is not None
    assert [line.quantity for line in claimed.loaded_lines] == [3]
