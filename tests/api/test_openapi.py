"""The OpenAPI schema as those read it who generate clients from it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from rest_framework.test import APIClient

from tests.support.languages import CHINESE
from web.catalogue import CATALOGUE

ROOT = Path(__file__).resolve().parents[2]
OPERATIONS = {
    "charge",
    "decline",
    "get_account",
    "get_order",
    "get_payment",
    "inquire_key",
    "issue_token",
    "list_accounts",
    "list_api_tokens",
    "list_entries",
    "list_orders",
    "list_products",
    "pay_order",
    "place_order",
    "revoke_api_token",
    "sign_in",
}
COMPONENTS = {
    "Account",
    "AccountPage",
    "ApiToken",
    "ApiTokenEntry",
    "ApiTokenEntryPage",
    "ChargeRequest",
    "Entry",
    "EntryPage",
    "KeyState",
    "KeyStatus",
    "Order",
    "OrderLine",
    "OrderLineRequest",
    "OrderPage",
    "OrderPayment",
    "OrderProblem",
    "OrderStatusLabel",
    "PayOrderRequest",
    "Payment",
    "PaymentOutcome",
    "PlaceOrderRequest",
    "Problem",
    "ProblemError",
    "ProblemOutcome",
    "Product",
    "ProductPage",
    "SignInRequest",
    "SingleUseToken",
}


def fetched(language: str) -> Any:
    headers = {"Accept": "application/json", "Accept-Language": language}
    return APIClient().get("/api/schema/", headers=headers).json()


@pytest.fixture(scope="module")
def schema() -> Any:
    return fetched("en")


@pytest.fixture(scope="module")
def operations(schema: Any) -> dict[str, Any]:
    found = [each for path in schema["paths"].values() for each in path.values()]
    return {operation["operationId"]: operation for operation in found}


def bodies(operation: Any) -> Iterator[tuple[str, Any]]:
    """Yield each media type's object of an operation's request and of its responses."""
    described = {"request": operation.get("requestBody", {}), **operation["responses"]}
    for name, body in described.items():
        for media in body.get("content", {}).values():
            yield name, media


def problems_of(operation: Any) -> Iterator[Any]:
    for response in operation["responses"].values():
        media = response.get("content", {}).get("application/problem+json", {"examples": {}})
        yield from (example["value"] for example in media["examples"].values())


def links_of(operations: dict[str, Any]) -> Iterator[Any]:
    for operation in operations.values():
        for response in operation["responses"].values():
            yield from response.get("links", {}).values()


def test_operations_and_components_have_the_names_that_clients_are_generated_from(
    schema: Any, operations: dict[str, Any]
) -> None:
    assert schema["openapi"] == "3.1.0"
    assert set(operations) == OPERATIONS
    assert set(schema["components"]["schemas"]) == COMPONENTS


@pytest.mark.parametrize("query", ["lang=zz", "lang=%00", "version=%0a", "format=json"])
def test_the_schema_takes_no_query_parameter(query: str) -> None:
    response = APIClient().get(f"/api/schema/?{query}")
    assert response.status_code == 400
    assert response["Content-Type"] == "application/problem+json"
    assert json.loads(response.content)["type"] == "/problems/validation-error"


@pytest.mark.parametrize("path", ["/api/schema/", "/api/docs/"])
@pytest.mark.parametrize("method", ["OPTIONS", "PUT", "TRACE"])
def test_what_renders_no_json_refuses_in_json_all_the_same(path: str, method: str) -> None:
    response = APIClient().generic(method, path)
    assert response.status_code == 405
    assert response["Content-Type"] == "application/problem+json"
    assert json.loads(response.content)["status"] == 405
    assert response["Allow"] == "GET, HEAD"


def test_every_operation_has_a_summary_a_described_tag_and_its_security(
    schema: Any, operations: dict[str, Any]
) -> None:
    described = {tag["name"] for tag in schema["tags"] if tag["description"]}
    schemes = schema["components"]["securitySchemes"]
    assert all(scheme["description"] for scheme in schemes.values())
    for operation in operations.values():
        assert operation["summary"]
        assert set(operation["tags"]) <= described
        assert {name for each in operation["security"] for name in each} <= schemes.keys()
    open_to_all = {name for name, operation in operations.items() if not operation["security"]}
    assert open_to_all == {"list_products", "sign_in"}


def test_every_example_is_valid_by_its_schema(schema: Any, operations: dict[str, Any]) -> None:
    checked = 0
    for operation_id, operation in operations.items():
        for name, media in bodies(operation):
            valid_by = {**media["schema"], "components": schema["components"]}
            validator = jsonschema_rs.Draft202012Validator(valid_by, validate_formats=True)
            for example in media["examples"].values():
                errors = list(map(str, validator.iter_errors(example["value"])))
                assert errors == [], (operation_id, name)
                checked += 1
    assert checked > 100


def test_every_body_has_an_example(operations: dict[str, Any]) -> None:
    missing = [
        (operation_id, name)
        for operation_id, operation in operations.items()
        for name, media in bodies(operation)
        if not media.get("examples")
    ]
    assert missing == []


def test_every_problem_is_one_of_the_catalogue(operations: dict[str, Any]) -> None:
    for operation in operations.values():
        for example in problems_of(operation):
            problem = CATALOGUE[example["type"].removeprefix("/problems/")]
            assert example["status"] == problem.status
            assert (example["title"], example["detail"]) == (problem.title, problem.detail)


def test_problems_are_worded_in_the_readers_language_and_in_english_again_after_that() -> None:
    for language, chinese in (("en", False), ("zh-CN", True), ("en", False)):
        paths = fetched(language)["paths"].values()
        worded = [
            problem["title"]
            for path in paths
            for operation in path.values()
            for problem in problems_of(operation)
        ]
        assert {bool(CHINESE.search(title)) for title in worded} == {chinese}


@pytest.mark.parametrize(
    ("operation_id", "status", "header"),
    [
        ("place_order", "201", "Location"),
        ("place_order", "201", "Idempotent-Replayed"),
        ("place_order", "409", "Retry-After"),
        ("pay_order", "200", "Idempotent-Replayed"),
        ("pay_order", "202", "Location"),
        ("pay_order", "202", "Retry-After"),
        ("pay_order", "402", "Idempotent-Replayed"),
        ("pay_order", "409", "Idempotent-Replayed"),
        ("charge", "201", "Location"),
        ("charge", "200", "Idempotent-Replayed"),
        ("decline", "201", "Location"),
        ("decline", "200", "Idempotent-Replayed"),
        ("issue_token", "429", "Retry-After"),
        ("sign_in", "429", "Retry-After"),
        ("sign_in", "401", "WWW-Authenticate"),
        ("list_orders", "503", "Retry-After"),
    ],
)
def test_a_response_documents_the_headers_that_it_carries(
    operation_id: str, status: str, header: str, operations: dict[str, Any]
) -> None:
    assert header in operations[operation_id]["responses"][status]["headers"]


def test_every_response_documents_the_request_id_and_every_header_is_described(
    schema: Any, operations: dict[str, Any]
) -> None:
    described = schema["components"]["headers"]
    for operation in operations.values():
        for response in operation["responses"].values():
            assert "X-Request-Id" in response["headers"]
            assert response["headers"].keys() <= described.keys()
    assert all(header["description"] for header in described.values())


def test_links_lead_from_placing_an_order_to_its_payment(operations: dict[str, Any]) -> None:
    placed = operations["place_order"]["responses"]["201"]["links"]["pay_order"]
    paid = operations["pay_order"]["responses"]["200"]["links"]

    assert placed["parameters"] == {"order_id": "$response.body#/id"}
    assert paid.keys() == {"get_order", "get_payment"}


def test_every_link_names_an_operation_and_parameters_of_it(operations: dict[str, Any]) -> None:
    for link in links_of(operations):
        taken = {each["name"] for each in operations[link["operationId"]]["parameters"]}
        assert link["parameters"].keys() <= taken


@pytest.mark.parametrize(
    ("role", "environment"),
    [
        ("payments", {}),
        ("orders", {"PAYMENTS_URL": "http://payments.example", "PAYMENTS_TOKEN": "t"}),
    ],
)
def test_a_system_alone_describes_its_own_operations(role: str, environment: Any) -> None:
    apart = {"DEBUG": "true", "DATABASE_URL": "postgres://nobody@127.0.0.1:1/none", "ROLE": role}
    command = [sys.executable, "manage.py", "spectacular", "--validate", "--fail-on-warn"]
    printed = subprocess.run(
        [*command, "--format", "openapi-json"],
        env={**os.environ, **apart, **environment},
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    schema = json.loads(printed.stdout)
    tags = {
        tag for path in schema["paths"].values() for each in path.values() for tag in each["tags"]
    }
    assert (
        tags - {"sign-in", "tokens"}
        == {
            "payments": {"payments", "accounts"},
            "orders": {"orders", "products"},
        }[role]
    )
    for name in referred_to(schema):
        assert name in schema["components"]["schemas"]
    own = {each["operationId"]: each for path in schema["paths"].values() for each in path.values()}
    assert {link["operationId"] for link in links_of(own)} <= own.keys()


def referred_to(value: Any) -> Iterator[str]:
    """Yield the names of the components that a schema refers to."""
    if isinstance(value, dict):
        reference = str(value.get("$ref", ""))
        if reference.startswith("#/components/schemas/"):
            yield reference.removeprefix("#/components/schemas/")
        for inner in value.values():
            yield from referred_to(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from referred_to(inner)
