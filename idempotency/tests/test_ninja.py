"""Operations of django-ninja: authentication first, then the key, once."""

import sys
from types import ModuleType
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path
from ninja import NinjaAPI, Router, Schema, Status
from ninja.security import django_auth

from idempotency import idempotent
from idempotency.tests.conftest import charges
from idempotency.tests.project import urls
from idempotency.tests.project.views import charge

pytestmark = pytest.mark.django_db(transaction=True)


class Amount(Schema):
    amount: int


@pytest.fixture(scope="module")
def urlconf() -> str:
    api = NinjaAPI(auth=django_auth)
    router = Router()

    @router.post("/charge", response={201: dict})
    @idempotent(serialize_by="thing:{thing}")
    def charge_operation(
        request: HttpRequest, thing: int, body: Amount, response: HttpResponse
    ) -> Any:
        response["Location"] = "/charges/1"
        return Status(201, {"charges": charge(body.amount)})

    @router.post("/empty", response={204: None})
    @idempotent()
    def empty(request: HttpRequest) -> Any:
        charge()
        return Status(204, None)

    api.add_router("/n", router)
    module = ModuleType("ninja_urls")
    module.urlpatterns = [path("ninja/", api.urls), *urls.urlpatterns]  # type: ignore[attr-defined]
    sys.modules["ninja_urls"] = module
    return "ninja_urls"


def send(
    client: Client, path: str = "/ninja/n/charge?thing=1", key: str = "k", amount: int = 1
) -> Any:
    body = {"amount": amount}
    headers = {"Idempotency-Key": key}
    return client.post(path, body, content_type="application/json", headers=headers)


def test_an_operation_runs_once_and_is_replayed(
    client: Client, urlconf: str, settings: Any
) -> None:
    settings.ROOT_URLCONF = urlconf
    first, retry = send(client), send(client)

    assert (first.status_code, first.json()) == (201, {"charges": 1})
    assert (retry.status_code, retry.content) == (201, first.content)
    assert retry["Location"] == first["Location"] == "/charges/1"
    assert retry["Idempotent-Replayed"] == "true"
    assert send(client, amount=2).status_code == 422
    assert charges() == 1


def test_an_empty_response_of_an_operation(client: Client, urlconf: str, settings: Any) -> None:
    settings.ROOT_URLCONF = urlconf
    assert [send(client, "/ninja/n/empty").status_code for _ in range(2)] == [204, 204]
    assert charges() == 1


def test_nobody_gets_a_replay_of_an_operation(client: Client, urlconf: str, settings: Any) -> None:
    settings.ROOT_URLCONF = urlconf
    send(client)
    assert send(Client()).status_code == 401


def test_a_body_that_is_not_valid_is_ninjas_own_error(
    client: Client, urlconf: str, settings: Any
) -> None:
    settings.ROOT_URLCONF = urlconf
    assert send(client, amount="much").status_code == 422  # type: ignore[arg-type]
    assert send(client, amount=1).status_code == 201
