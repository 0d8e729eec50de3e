"""Probes request a pod by its address; pages and the API only by the shop's names."""

from typing import Any

import pytest
from django.test import Client

from operations import health

PROBES = ("/healthz", "/readyz", "/metrics")
ADDRESS = "10.1.2.3:8000"


@pytest.fixture
def unknown_host(db: None, settings: Any) -> Client:
    """A client that requests the server by an address which is not in ALLOWED_HOSTS."""
    settings.ALLOWED_HOSTS = ["shop.example"]
    return Client(HTTP_HOST=ADDRESS)


@pytest.mark.parametrize("path", PROBES)
@pytest.mark.parametrize("host", [ADDRESS, "shop.example", "under_score", "a b", ""])
def test_a_probe_gets_its_response_whatever_the_host(
    path: str, host: str, unknown_host: Client
) -> None:
    response = unknown_host.get(path, HTTP_HOST=host)
    assert response.status_code == 200
    assert response["X-Request-Id"]


@pytest.mark.parametrize("path", PROBES)
def test_a_probe_is_not_redirected_to_https(path: str, unknown_host: Client, settings: Any) -> None:
    settings.SECURE_SSL_REDIRECT = True
    assert Client(HTTP_HOST=ADDRESS).get(path).status_code == 200
    assert Client(HTTP_HOST="shop.example").get("/sign-in/").status_code == 301


@pytest.mark.parametrize(
    "path", ["/sign-in/", "/admin/login/", "/api/v1/products/", "/healthz/", "/metrics/x"]
)
def test_pages_and_the_api_refuse_an_unknown_host(path: str, unknown_host: Client) -> None:
    assert unknown_host.get(path).status_code == 400


@pytest.mark.parametrize("path", ["/sign-in/", "/api/v1/products/"])
def test_pages_and_the_api_refuse_an_unknown_host_before_they_redirect_it_to_https(
    path: str, unknown_host: Client, settings: Any
) -> None:
    settings.SECURE_SSL_REDIRECT = True
    assert Client(HTTP_HOST=ADDRESS).get(path).status_code == 400


@pytest.mark.parametrize("debug", [True, False])
@pytest.mark.parametrize("path", ["/orders", "/basket"])
def test_only_a_read_is_redirected_to_the_slash_that_it_lacks(
    path: str, debug: bool, db: None, settings: Any
) -> None:
    settings.DEBUG = debug
    redirected = Client().get(path)
    assert (redirected.status_code, redirected["Location"]) == (301, f"{path}/")
    assert Client().post(path, {"a": "b"}).status_code == 404
    assert Client().put(path).status_code == 404


def test_a_method_that_a_probe_has_not_is_a_problem_that_names_the_others() -> None:
    refused = Client().post("/metrics")
    assert (refused.status_code, refused["Allow"]) == (405, "GET, HEAD")
    assert refused["Content-Type"] == "application/problem+json"


def test_a_server_whose_database_lacks_a_migration_is_not_ready(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    health._check_migrated.cache_clear()
    try:
        with monkeypatch.context() as patch:
            plan = "operations.health.MigrationExecutor.migration_plan"
            patch.setattr(plan, lambda *_: ["a migration"])
            assert Client().get("/readyz").status_code == 503
        assert Client().get("/readyz").status_code == 200
    finally:
        health._check_migrated.cache_clear()
