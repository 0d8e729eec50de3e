"""Who may store a response: every route says so, in each of its outcomes."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from rest_framework.test import APIClient

from orders.models import Product
from payments.models import Account
from tests.support.routes import Route, routes
from tests.surface.conftest import World

MACHINE = ("api/", "healthz", "readyz", "metrics")
PUBLIC = {"api/v1/products/": 200}  # what any cache may store, by its one status
ROUTES = routes()


def directives(response: Any) -> set[str]:
    return {each.strip() for each in response["Cache-Control"].split(",")}


def varies_by(response: Any) -> set[str]:
    return {each.strip() for each in response.get("Vary", "").split(",")}


def misstated(route: Route, response: Any) -> str:
    """Return what is wrong with a response's headers for caches, or an empty text."""
    is_read = response.wsgi_request.method in {"GET", "HEAD"}
    if is_read and PUBLIC.get(route.text) == response.status_code:
        return "" if "public" in directives(response) else "not public"
    if not response.has_header("Cache-Control"):
        return "no Cache-Control"
    wanted = {"private", "no-store"} if route.text.startswith(MACHINE) else {"private"}
    missing = wanted - directives(response)
    missing |= {"Authorization", "Cookie"} - varies_by(response)
    return f"{response.status_code} lacks {sorted(missing)}" if missing else ""


@pytest.fixture(params=["nobody", "alice", "superuser"])
def browser(request: Any, world: World, alice: User) -> Client:
    """A browser of nobody's, a customer's, or a superuser's, which gets errors as pages."""
    browser = Client(raise_request_exception=False)
    if request.param == "alice":
        browser.force_login(alice)
    if request.param == "superuser":
        browser.force_login(User.objects.create_superuser("root"))
    return browser


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE"])
def test_every_response_of_every_route_states_who_may_store_it(
    method: str, world: World, browser: Client
) -> None:
    wrong = {}
    for route in ROUTES:
        if route.text == "lab/runs/" and method == "POST":
            continue  # it would start the lab's processes
        response = browser.generic(method, world.path(route), b"{}", "application/json")
        if complaint := misstated(route, response):
            wrong[route.text] = complaint
    assert wrong == {}


def test_what_the_api_returns_to_its_caller_is_stored_by_nobody(
    world: World, as_alice: APIClient
) -> None:
    own = [route for route in ROUTES if route.text.startswith("api/v1/")]
    assert len(own) > 10
    for route in own:
        response = as_alice.get(world.path(route))
        assert misstated(route, response) == ""


def test_the_catalogue_is_public_and_what_it_refuses_is_not(
    product: Product, as_alice: APIClient
) -> None:
    listed = as_alice.get("/api/v1/products/")
    refused = as_alice.get("/api/v1/products/?page_size=0")
    assert (listed.status_code, refused.status_code) == (200, 400)
    assert directives(listed) == {"public", "max-age=60"}
    assert directives(refused) == {"private", "no-store"}


def test_a_replay_has_the_first_responses_status_body_location_and_cache_headers(
    product: Product, alice_account: Account, as_alice: APIClient
) -> None:
    body = {"lines": [{"sku": product.sku, "quantity": 1}]}
    first, replay = (
        as_alice.post("/api/v1/orders/", body, headers={"Idempotency-Key": "k"}) for _ in range(2)
    )
    assert replay["Idempotent-Replayed"] == "true"
    assert (first.status_code, first.content) == (replay.status_code, replay.content)
    for header in ("Location", "Cache-Control", "Vary", "Content-Type"):
        assert first[header] == replay[header]
