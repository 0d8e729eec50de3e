"""Requeueing in the outbox's admin page is for who may change orders."""

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from orders.models import Order, PaymentRequest

OUTBOX = reverse("admin:orders_paymentrequest_changelist")


@pytest.fixture
def dead_lettered(order: Order) -> PaymentRequest:
    return PaymentRequest.objects.create(order=order, body=b"{}", dead_lettered=True)


@pytest.mark.parametrize("may_change_orders", [False, True])
def test_only_who_may_change_orders_may_requeue_in_the_outbox(
    dead_lettered: PaymentRequest, *, may_change_orders: bool
) -> None:
    clerk = User.objects.create_user("clerk", is_staff=True)
    clerk.user_permissions.add(Permission.objects.get(codename="view_paymentrequest"))
    if may_change_orders:
        clerk.user_permissions.add(Permission.objects.get(codename="change_order"))
    client = Client()
    client.force_login(clerk)

    page = client.get(OUTBOX)
    client.post(OUTBOX, {"action": "requeue", "_selected_action": [str(dead_lettered.pk)]})

    assert page.status_code == 200
    assert ('value="requeue"' in page.content.decode()) is may_change_orders
    dead_lettered.refresh_from_db()
    assert dead_lettered.dead_lettered is not may_change_orders
