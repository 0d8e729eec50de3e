"""Single-use tokens over the API: how often they are issued, and what is said of a token."""

from typing import Any

from rest_framework.test import APIClient

from orders.models import Order, Product
from tests.conftest import LONG_WINDOW


def test_issue_is_limited_per_user(as_alice: APIClient, as_bob: APIClient, settings: Any) -> None:
    settings.IDEMPOTENCY = settings.IDEMPOTENCY | {"TOKEN_RATE": (3, LONG_WINDOW)}
    responses = [as_alice.post("/api/v1/tokens/") for _ in range(4)]
    assert [response.status_code for response in responses] == [201, 201, 201, 429]
    assert 1 <= int(responses[3]["Retry-After"]) <= LONG_WINDOW
    assert responses[3].json()["type"] == "/problems/rate-limited"
    assert as_bob.post("/api/v1/tokens/").status_code == 201


def test_a_token_is_of_no_use_to_another_user(
    as_alice: APIClient, as_bob: APIClient, product: Product
) -> None:
    token = as_alice.post("/api/v1/tokens/").json()["token"]
    body = {"lines": [{"sku": product.sku, "quantity": 1}]}

    refused = as_bob.post("/api/v1/orders/", body, headers={"Idempotency-Key": token})

    assert refused.status_code == 400
    assert refused.json()["type"] == "/problems/idempotency-key-invalid"
    assert not Order.objects.exists()
    placed = as_alice.post("/api/v1/orders/", body, headers={"Idempotency-Key": token})
    assert placed.status_code == 201
