"""Django REST framework: refusals as problem documents, and the OpenAPI schema."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from django.test import Client
from django.urls import path
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from idempotency import idempotent
from idempotency.drf import Refused, exception_handler
from idempotency.tests.conftest import charges
from idempotency.tests.project import views
from idempotency.tests.project.models import User
from idempotency.tests.test_views import post

pytestmark = pytest.mark.django_db(transaction=True)

HANDLER = "idempotency.drf.exception_handler"


def own_handler(error: Exception, context: Any) -> Response | None:
    """A project's own, which has its say about everything else."""
    if isinstance(error, Refused):
        return exception_handler(error, context)
    return Response({"mine": True}, 418)


@pytest.fixture(params=[HANDLER, f"{__name__}.own_handler"])
def handler(request: pytest.FixtureRequest, settings: Any) -> str:
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "EXCEPTION_HANDLER": request.param}
    return str(request.param)


@pytest.mark.parametrize("path", ["/rest/", "/set/", "/function/"])
def test_a_refusal_is_a_problem_document(path: str, client: Client, handler: str) -> None:
    refused = post(client, path, key=None)

    assert (refused.status_code, refused["Content-Type"]) == (400, "application/problem+json")
    assert refused["Link"] == '</problems/idempotency-key-missing>; rel="describedby"'
    assert refused.json()["type"] == "/problems/idempotency-key-missing"
    assert charges() == 0


@pytest.mark.parametrize("path", ["/rest/", "/set/", "/function/"])
def test_a_busy_key_is_a_problem_with_retry_after(
    path: str,
    client: Client,
    alice: User,
    hold: Callable[[str], AbstractContextManager[None]],
    handler: str,
) -> None:
    with hold(f"user:{alice.pk}"):
        busy = post(client, path, headers={"Prefer": "wait=0"})

    assert (busy.status_code, busy["Retry-After"]) == (409, "1")
    assert (busy.json()["retryable"], busy.json()["same_key"]) == (True, True)
    assert charges() == 0


def test_any_other_error_is_the_frameworks_or_the_projects(handler: str) -> None:
    refused = post(Client(), "/rest/")
    assert refused.status_code == (403 if handler == HANDLER else 418)


def test_without_the_handler_a_refusal_is_an_error_of_the_framework(client: Client) -> None:
    refused = post(client, "/rest/", key=None)
    assert refused.status_code == 400
    assert refused.json() == {"detail": "This request needs an Idempotency-Key header."}


def test_the_rate_of_tokens_says_when_to_come_back(client: Client, settings: Any) -> None:
    settings.IDEMPOTENCY = {"TOKEN_RATE": (1, 3600)}
    assert [client.post("/api/tokens/").status_code for _ in range(2)] == [201, 429]
    assert 1 <= int(client.post("/api/tokens/")["Retry-After"]) <= 3600


def test_the_schema_documents_the_key_the_replay_and_the_refusals(settings: Any) -> None:
    generators = pytest.importorskip("drf_spectacular.generators")
    settings.REST_FRAMEWORK = {
        **settings.REST_FRAMEWORK,
        "DEFAULT_SCHEMA_CLASS": "idempotency.spectacular.Schema",
    }
    from idempotency.spectacular import document

    @api_view(["POST"])
    @idempotent()
    def function(request: Request) -> Response:
        return Response()

    class Plain(APIView):
        def post(self, request: Request) -> Response:
            return Response()

    patterns = [
        path("rest/", views.RestView.as_view()),
        path("set/", views.RestViewSet.as_view({"post": "create"})),
        path("function/", function),
        path("undecorated/", Plain.as_view()),
    ]
    schema = generators.SchemaGenerator(patterns=patterns).get_schema(public=True)
    paths = document(schema)["paths"]

    for operation, required in (
        (paths["/rest/"]["post"], True),
        (paths["/rest/"]["put"], False),
        (paths["/set/"]["post"], True),
        (paths["/function/"]["post"], True),
    ):
        parameters = {each["name"]: each for each in operation["parameters"]}
        assert parameters["Idempotency-Key"].get("required", False) is required
        assert "Prefer" in parameters
        assert {"409", "410", "422"} <= operation["responses"].keys()
        replays = [each.get("headers", {}) for each in operation["responses"].values()]
        assert any("Idempotent-Replayed" in headers for headers in replays)
    assert "Idempotency-Key" not in str(paths["/undecorated/"])
