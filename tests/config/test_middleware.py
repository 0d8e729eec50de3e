"""Each middleware is installed: without any one of them, one of these fails."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection
from django.test import Client
from rest_framework.test import APIRequestFactory
from rest_framework.views import APIView

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Request-Id", "mine"),
        ("Cache-Control", "private"),
        ("Content-Security-Policy", "default-src 'none'"),
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "DENY"),
        ("Content-Language", "zh-hans"),
    ],
)
def test_a_page_carries_the_header_of(name: str, value: str) -> None:
    page = Client().get("/", headers={"X-Request-Id": "mine", "Accept-Language": "zh-hans"})
    assert page.headers.get(name, "").startswith(value)


def test_a_static_file_is_served() -> None:
    response = Client().get("/static/admin/css/base.css")
    assert response.status_code == 200
    response.close()


def test_an_error_of_the_api_is_a_problem() -> None:
    response = Client().post("/api/v1/orders/", "x" * 100_000, content_type="text/plain")
    assert (response.status_code, response["Content-Type"]) == (413, "application/problem+json")


def test_an_unknown_host_is_refused_except_for_a_probe() -> None:
    stranger = Client(headers={"Host": "elsewhere.example"})
    assert stranger.get("/").status_code == 400
    assert stranger.get("/healthz").status_code == 200


def test_a_form_from_elsewhere_is_refused() -> None:
    assert Client(enforce_csrf_checks=True).post("/basket/").status_code == 403


def test_a_session_is_its_users(alice: User) -> None:
    browser = Client()
    browser.force_login(alice)
    assert browser.get("/orders/").status_code == 200


def test_a_message_reaches_the_next_page(admin_client: Client) -> None:
    address = "/admin/orders/order/00000000-0000-7000-8000-000000000000/change/"
    page = admin_client.get(address, follow=True)
    assert page.redirect_chain
    assert b'class="messagelist"' in page.content


def test_a_page_without_a_database_is_an_error_page(alice: User) -> None:
    browser = Client(raise_request_exception=False)
    browser.force_login(alice)

    def fail(*_: Any) -> None:
        raise OperationalError("the database is away")

    with connection.execute_wrapper(fail):
        page = browser.get("/orders/")
    assert page.status_code == 503


def test_a_response_is_counted() -> None:
    def counts() -> list[bytes]:
        lines = Client().get("/metrics").content.splitlines()
        return [line for line in lines if line.startswith(b"charge_once_request_duration")]

    before = counts()
    Client().get("/")
    assert counts() != before


def test_a_call_is_for_whoever_has_signed_in_unless_it_says_otherwise() -> None:
    response = APIView.as_view()(APIRequestFactory().get("/"))
    assert response.status_code == 401
