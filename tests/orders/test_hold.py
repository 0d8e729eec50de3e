"""A duplicate holds the paying order that it is about, and no other."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction

from orders.errors import OrderNotFound
from orders.models import Order
from orders.services import advance, pay_order
from payments.models import Account


@contextmanager
def held(order: Order) -> Iterator[None]:
    """Hold an order in another session, while this one waits for a lock no longer than a moment."""
    other_session = connection.copy()
    try:
        with transaction.atomic(), other_session.cursor() as holding:
            holding.execute("BEGIN")
            holding.execute("SELECT FROM orders_order WHERE id = %s FOR UPDATE", [order.pk])
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL lock_timeout = '500ms'")
            yield
    finally:
        other_session.close()


def test_a_duplicate_does_not_wait_for_who_holds_another_order(
    transactional_db: None, alice: User, alice_account: Account, place: Callable[..., Order]
) -> None:
    order, another = place(customer=alice), place(customer=alice)
    for each in (order, another):
        assert advance(each.pk, Order.start_paying, account_id=alice_account.pk)

    with held(another):
        attempt = pay_order(customer=alice, order_id=order.pk, account_id=alice_account.pk)

    assert (attempt.order.status, attempt.first) == (Order.Status.PAYING, False)


def test_a_stranger_neither_holds_an_order_nor_waits_for_it(
    transactional_db: None, bob: User, bob_account: Account, alice_account: Account, order: Order
) -> None:
    assert advance(order.pk, Order.start_paying, account_id=alice_account.pk)

    with held(order), pytest.raises(OrderNotFound), transaction.atomic():
        pay_order(customer=bob, order_id=order.pk, account_id=bob_account.pk)
