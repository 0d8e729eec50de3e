"""A duplicate holds the paying order that it is about, and no other."""

from collections.abc import Callable

from django.contrib.auth.models import User
from django.db import connection, transaction

from orders.models import Order
from orders.services import advance, pay_order
from payments.models import Account


def test_a_duplicate_does_not_wait_for_who_holds_another_order(
    transactional_db: None, alice: User, alice_account: Account, place: Callable[..., Order]
) -> None:
    order, another = place(customer=alice), place(customer=alice)
    for each in (order, another):
        assert advance(each.pk, Order.start_paying, account_id=alice_account.pk)
    other_session = connection.copy()
    try:
        with transaction.atomic(), other_session.cursor() as holding:
            holding.execute("BEGIN")
            holding.execute("SELECT FROM orders_order WHERE id = %s FOR UPDATE", [another.pk])
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL lock_timeout = '500ms'")

            attempt = pay_order(customer=alice, order_id=order.pk, account_id=alice_account.pk)
    finally:
        other_session.close()

    assert (attempt.order.status, attempt.first) == (Order.Status.PAYING, False)
