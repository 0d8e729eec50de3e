"""The settings, one by one, through a view: `IDEMPOTENCY = {...}`, read when used."""

from datetime import timedelta
from typing import Any

import pytest
from django.http import HttpRequest
from django.test import Client

from idempotency.errors import Unstorable
from idempotency.models import Record
from idempotency.tests.conftest import charges
from idempotency.tests.project.models import User
from idempotency.tests.support import age
from idempotency.tests.test_views import post

pytestmark = pytest.mark.django_db(transaction=True)


def tenant_of(request: HttpRequest) -> str:
    return f"tenant:{request.headers['X-Tenant']}"


@pytest.mark.parametrize("setting", [tenant_of, "idempotency.tests.test_settings.tenant_of"])
def test_scope_is_a_callable_or_its_name_and_a_views_own_comes_first(
    setting: Any, settings: Any
) -> None:
    settings.IDEMPOTENCY = {"SCOPE": setting}

    def send(tenant: str, path: str = "/plain/") -> Any:
        return post(Client(), path, headers={"X-Tenant": tenant, "X-Guest": "1"})

    assert [send("a").content, send("b").content] == [b"charged 1", b"charged 2"]
    assert send("a")["Idempotent-Replayed"] == "true"
    send("a", "/guest/")
    assert {record.scope for record in Record.objects.all()} == {"tenant:a", "tenant:b", "guest:1"}


def test_a_request_that_has_no_scope_is_401_and_leaves_nothing(settings: Any) -> None:
    settings.IDEMPOTENCY = {"SCOPE": lambda request: ""}
    assert post(Client(), "/plain/").status_code == 401
    assert charges() == 0


def test_two_long_scopes_that_begin_alike_never_meet() -> None:
    for last in "ab":
        guest = "x" * 300 + last
        assert "Idempotent-Replayed" not in post(Client(), "/guest/", headers={"X-Guest": guest})
    assert charges() == 2


@pytest.mark.parametrize("path", ["/rest/", "/plain/"])
def test_the_headers_have_the_names_of_the_settings(
    path: str, client: Client, settings: Any
) -> None:
    settings.IDEMPOTENCY = {"KEY_HEADER": "X-Request-Key", "REPLAYED_HEADER": "X-Replayed"}
    assert post(client, path).status_code == 400  # Idempotency-Key is a header like any other
    first, retry = (post(client, path, key=None, headers={"X-Request-Key": "k"}) for _ in range(2))

    assert "X-Replayed" not in first
    assert retry["X-Replayed"] == "true"
    assert "Idempotent-Replayed" not in retry


def test_a_projects_own_headers_are_stored_by_name_and_a_cookie_is_not(
    client: Client, settings: Any
) -> None:
    settings.IDEMPOTENCY = {"STORED_HEADERS": ("X-Receipt", "Set-Cookie")}
    first, retry = post(client, "/own_header/"), post(client, "/own_header/")

    assert first["X-Receipt"] == retry["X-Receipt"] == "17"
    assert "secret" in first.cookies
    assert "Set-Cookie" not in retry
    assert not retry.cookies
    assert Record.objects.get().headers == {"X-Receipt": "17"}


def test_a_header_that_is_not_listed_is_not_replayed(client: Client) -> None:
    post(client, "/own_header/")
    assert "X-Receipt" not in post(client, "/own_header/")


def test_a_response_above_the_limit_is_refused_before_the_commit(
    client: Client, settings: Any
) -> None:
    settings.IDEMPOTENCY = {"RESPONSE_BYTES_MAX": 8}
    with pytest.raises(Unstorable, match=r"returned 9 bytes, more than the 8 .*Nothing was commit"):
        post(client, "/plain/")
    assert (charges(), Record.objects.count()) == (0, 0)

    settings.IDEMPOTENCY = {"RESPONSE_BYTES_MAX": 9}
    assert post(client, "/plain/").content == b"charged 1"


def test_statuses_that_are_not_stored_roll_back_and_the_key_may_try_again(
    client: Client, settings: Any
) -> None:
    settings.IDEMPOTENCY = {"NOT_STORED": frozenset({418})}
    assert [post(client, "/teapot/").content for _ in range(2)] == [b"1", b"1"]
    assert (charges(), Record.objects.count()) == (0, 0)

    settings.IDEMPOTENCY = {}
    assert [post(client, "/teapot/").status_code for _ in range(2)] == [418, 418]
    assert charges() == 1


def test_a_redacted_body_is_what_is_stored_and_replayed(client: Client, settings: Any) -> None:
    def redact(body: bytes, content_type: str) -> bytes:
        assert content_type == "text/plain"
        return body.replace(b"1", b"*")

    settings.IDEMPOTENCY = {"REDACT": redact}
    first, retry = post(client, "/plain/"), post(client, "/plain/")

    assert (first.content, retry.content) == (b"charged 1", b"charged *")
    assert bytes(Record.objects.get().body or b"") == b"charged *"
    assert charges() == 1


def test_retention_decides_how_long_a_response_is_replayed(client: Client, settings: Any) -> None:
    settings.IDEMPOTENCY = {"RETENTION": timedelta(days=4)}
    post(client, "/plain/", key="for-four-days")
    settings.IDEMPOTENCY = {"RETENTION": timedelta(days=2)}
    post(client, "/plain/", key="for-two-days")
    age(3)
    assert post(client, "/plain/", key="for-four-days")["Idempotent-Replayed"] == "true"
    assert post(client, "/plain/", key="for-two-days").status_code == 410
    age(1)
    assert post(client, "/plain/", key="for-four-days").status_code == 410
    assert charges() == 2


@pytest.mark.parametrize("path", ["/api/tokens/", "/django/tokens/"])
def test_tokens_have_a_lifetime_and_a_rate(path: str, client: Client, settings: Any) -> None:
    settings.IDEMPOTENCY = {"TOKEN_LIFETIME": timedelta(milliseconds=1), "TOKEN_RATE": (1, 3600)}
    issued, refused = client.post(path), client.post(path)

    assert (issued.status_code, refused.status_code) == (201, 429)
    assert 1 <= int(refused["Retry-After"]) <= 3600
    assert issued["Cache-Control"]
    expired = post(client, "/plain/", key=issued.json()["token"])
    assert expired.status_code == 400
    assert charges() == 0


def test_a_problem_has_the_type_of_the_setting(client: Client, settings: Any) -> None:
    settings.IDEMPOTENCY = {"PROBLEM_TYPE": "https://errors.example/{slug}"}
    refused = post(client, "/plain/", key=None)

    assert refused.json()["type"] == "https://errors.example/idempotency-key-missing"
    assert "https://errors.example/idempotency-key-missing" in refused["Link"]


def test_prefer_wait_is_bounded_by_the_setting(
    client: Client, alice: User, settings: Any, hold: Any
) -> None:
    settings.IDEMPOTENCY = {"WAIT_SECONDS_MAX": 0}
    with hold(f"user:{alice.pk}"):
        busy = post(client, "/plain/", headers={"Prefer": "wait=30"})
    assert busy.status_code == 409
