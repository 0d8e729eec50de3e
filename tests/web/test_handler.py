"""A request is read before any middleware: no header makes that fail, and no charset decides."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.core import signals
from django.db import close_old_connections
from django.test import RequestFactory

from orders.models import Product
from web.handler import Handler, ReadableRequest

application = Handler()

UNREADABLE = (
    "application/json; charset*=x''y",
    "application/json; charset*=bz2''%42",
    "application/json; charset*=a''b; charset*0=c",
    f"application/json; charset*{'9' * 5000}=a",
    "application/json; a*=nonsense''b",
)
ODD = (
    "application/json; charset =bz2",
    'application/json; charset="bz2"',
    "application/json; charset=rot13",
    "application/json; charset=undefined",
    "application/json; charset=utf-16",
    "application/json; charset=idna",
    "application/json; charset=nonsense",
    "application/json; charset=\0",
)


@pytest.fixture(autouse=True)
def _connection_stays() -> Iterator[None]:
    """Leave the test its connection, with the transaction, when a request starts."""
    signals.request_started.disconnect(close_old_connections)
    yield
    signals.request_started.connect(close_old_connections)


def text_of(path: str, method: str = "GET", body: bytes = b"", **environ: str) -> tuple[int, str]:
    """Return status and body of a request to the WSGI application."""
    statuses: list[str] = []

    def start(status: str, *_: Any) -> Any:
        statuses.append(status)

    made = RequestFactory().generic(method, path, body).environ
    sent = b"".join(application(made | {"HTTP_HOST": "localhost"} | environ, start))
    return int(statuses[0][:3]), sent.decode()


def call(path: str, method: str = "GET", body: bytes = b"", **environ: str) -> tuple[int, Any]:
    """Return the same with the body parsed, if it is JSON."""
    status, text = text_of(path, method, body, **environ)
    return status, json.loads(text) if text.startswith("{") else text


@pytest.mark.parametrize("content_type", UNREADABLE + ODD)
def test_any_charset_of_a_json_body_is_ignored(content_type: str, product: Product) -> None:
    assert call("/api/v1/products/?page_size=1", CONTENT_TYPE=content_type)[0] == 200
    body = json.dumps({"username": "é", "password": "x"}, ensure_ascii=False).encode()
    status, problem = call("/api/v1/sign-in/", "POST", body, CONTENT_TYPE=content_type)
    assert (status, problem["type"]) == (401, "/problems/not-authenticated")


def test_json_that_is_not_utf_8_is_a_problem_whatever_charset_it_claims(db: None) -> None:
    body = '{"username": "é", "password": "x"}'.encode("latin-1")
    claimed = "application/json; charset=iso-8859-1"
    status, problem = call("/api/v1/sign-in/", "POST", body, CONTENT_TYPE=claimed)
    assert (status, problem["type"]) == (400, "/problems/malformed-request")


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data"])
def test_another_content_type_is_415_with_any_parameter(kind: str, db: None) -> None:
    for parameter in ("charset*=x''y", "charset =bz2", "boundary*=x''y"):
        sent = f"{kind}; {parameter}"
        status, problem = call("/api/v1/sign-in/", "POST", b"{}", CONTENT_TYPE=sent)
        assert (status, problem["type"]) == (415, "/problems/unsupported-media-type")


@pytest.mark.parametrize("content_type", UNREADABLE + ODD)
def test_a_page_is_shown_whatever_the_content_type(content_type: str, db: None) -> None:
    status, page = call("/sign-in/", CONTENT_TYPE=content_type)
    assert status == 200
    assert "Charge once" in page


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("application/json;a*=x''y", 406),
        ("application/json;a*=us-ascii''b;a*0=c", 406),
        ("text/html, application/json;a*=us-ascii''b;a*0=c, */*;q=0.1", 200),
        ("""*/*; a=";b*=x''y\"""", 200),
        ("application/json; indent=4", 200),
    ],
)
def test_a_media_range_that_cant_be_parsed_matches_nothing(
    accept: str, status: int, product: Product
) -> None:
    got, body = call("/api/v1/products/", HTTP_ACCEPT=accept)
    assert got == status
    assert body.keys() >= ({"results"} if status == 200 else {"type"})


def test_a_response_has_one_form_whatever_accept_adds_to_the_media_type(product: Product) -> None:
    plain, indented = (
        text_of("/api/v1/products/", HTTP_ACCEPT=f"application/json{more}")
        for more in ("", "; indent=4")
    )
    assert plain == indented


def test_a_page_that_asks_what_is_accepted_gets_by_what_can_be_parsed(db: None) -> None:
    def choose_language(accept: str) -> int:
        cookie, token = f"csrftoken={'x' * 32}", "x" * 32
        return call(
            *("/language/", "POST"),
            HTTP_ACCEPT=accept,
            HTTP_COOKIE=cookie,
            HTTP_X_CSRFTOKEN=token,
        )[0]

    assert choose_language("text/html;a*=x''y") == 204
    assert choose_language("a/b;a*=x''y, text/html") == 302


@pytest.mark.parametrize(
    ("coding", "status"), [("gzip", 415), ("identity, br", 415), ("", 400), ("Identity", 400)]
)
def test_a_body_in_a_coding_that_nobody_decodes_is_415(coding: str, status: int, db: None) -> None:
    got, problem = call(
        *("/api/v1/sign-in/", "POST", b"{}"),
        CONTENT_TYPE="application/json",
        HTTP_CONTENT_ENCODING=coding,
    )
    assert (got, problem["status"]) == (status, status)


@pytest.mark.parametrize("header", ["HTTP_X_HTTP_METHOD_OVERRIDE", "HTTP_X_METHOD_OVERRIDE"])
def test_no_header_and_no_parameter_makes_a_request_another_ones(header: str, db: None) -> None:
    body = b'{"_method": "DELETE"}'
    assert call("/api/v1/sign-in/?_method=PUT", "POST", body, **{header: "GET"})[0] == 415


def test_a_form_is_utf_8_whatever_it_claims() -> None:
    environ = RequestFactory().post("/?a=%C3%A9").environ | {
        "CONTENT_TYPE": "application/x-www-form-urlencoded; charset=iso-8859-1",
    }
    assert ReadableRequest(environ).GET["a"] == "é"
