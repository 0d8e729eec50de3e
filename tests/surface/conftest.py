"""One of everything that a route may be about, all of it alice's."""

from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model
from rest_framework.test import APIClient

from idempotency.journal import recorder
from idempotency.journal.models import JournaledRequest
from idempotency.models import Record, Token
from orders.models import Order, PaymentRequest, Product, StatusChange
from payments.models import Account, Entry, Payment
from shop import baskets
from tests.support.routes import Route, routes
from web.models import ApiToken


@dataclass(frozen=True)
class World:
    """The rows that the addresses name.

    :param rows: one of each model of the admin
    :param values: a value for each argument of a route
    :param bodies: by route, what its owner would send
    """

    rows: dict[type[Model], Model]
    values: dict[str, Any]
    bodies: dict[str, dict[str, Any]]

    def path(self, route: Route) -> str:
        return route.path(self.values)


def model_routes(model: type[Model]) -> str:
    return f"admin/{model._meta.app_label}/{model._meta.model_name}/"


@pytest.fixture
def world(
    as_alice: APIClient,
    alice: User,
    alice_account: Account,
    product: Product,
    order: Order,
    place: Any,
) -> World:
    """An order of alice's that is paid, one that is open, and all that comes with them."""
    as_alice.post("/api/v1/tokens/")
    lines = {"lines": [{"sku": product.sku, "quantity": 2}]}
    placed = as_alice.post("/api/v1/orders/", lines, headers={"Idempotency-Key": "k-place"})
    body = {"account": alice_account.pk}
    paid = as_alice.post(f"{placed['Location']}pay/", body, headers={"Idempotency-Key": "k-pay"})
    assert paid.status_code == 200
    refused = place(customer=alice)  # an order that nobody pays here
    PaymentRequest.objects.create(order_id=refused.pk, body=b"{}", dead_lettered=True)
    Group.objects.create(name="clerks")
    recorder.flush()
    baskets.fill(customer=alice, quantities={product.sku: 1})
    basket = baskets.open_basket(customer=alice)
    assert basket is not None
    first = (Order, StatusChange, PaymentRequest, Payment, Entry, Record, Token, Group)
    rows: dict[type[Model], Any] = {model: model._default_manager.first() for model in first}
    rows |= {Product: product, Account: alice_account, User: alice}
    rows[ApiToken] = ApiToken.objects.get(user=alice)
    rows[JournaledRequest] = JournaledRequest.objects.first()
    assert rows.keys() == admin.site._registry.keys()
    bodies = {"api/v1/orders/<uuid:order_id>/pay/": body}
    return World(rows, _values(rows, order, paid.json()["id"], basket.pk), bodies)


def _values(rows: dict[type[Model], Any], order: Order, paid: Any, basket: Any) -> dict[str, Any]:
    return {
        "order_id": order.pk,
        "pk": rows[Account].pk,
        "key": "k-pay",
        "slug": "payment-declined",
        "basket_id": basket,
        "run_id": uuid4(),
        "name": "naive",
        "app_label": "orders",
        "url": "nonsense",
        "id": rows[User].pk,
        "content_type_id": ContentType.objects.get_for_model(Product).pk,
        "object_id": rows[Product].pk,
        "token_id": rows[ApiToken].pk,
        "api/v1/payments/<uuid:order_id>/": {"order_id": paid},
        "api/v1/api-tokens/<int:id>/": {"id": rows[ApiToken].pk},
        **{
            route.text: {"object_id": rows[model].pk}
            for model in rows
            for route in routes()
            if route.text.startswith(f"{model_routes(model)}<path:object_id>/")
        },
    }
