"""Whose word counts about where a request comes from: a trusted proxy's, and nobody else's."""

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory

from web.checks import proxies_are_named
from web.proxies import forwarded_by_trusted_proxies, trusted_proxies

PROXIES = ["10.0.0.0/8", "2001:db8:ffff::1"]
CLIENT, PROXY = "203.0.113.7", "10.0.0.2"


@pytest.fixture(autouse=True)
def proxies(settings: Any) -> None:
    settings.TRUSTED_PROXIES = trusted_proxies(PROXIES)


def arrived(peer: str, forwarded_for: str | None = None, **headers: str) -> HttpRequest:
    """Return a request as the views behind the middleware get it."""
    seen: list[HttpRequest] = []

    def view(request: HttpRequest) -> HttpResponse:
        seen.append(request)
        return HttpResponse()

    if forwarded_for is not None:
        headers["X-Forwarded-For"] = forwarded_for
    request = RequestFactory().get("/", REMOTE_ADDR=peer, headers=headers)
    forwarded_by_trusted_proxies(view)(request)
    return seen[0]


def address(peer: str, forwarded_for: str | None = None) -> str:
    return str(arrived(peer, forwarded_for).META["REMOTE_ADDR"])


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        (CLIENT, None, CLIENT),
        (CLIENT, "198.51.100.1", CLIENT),
        (PROXY, None, PROXY),
        (PROXY, CLIENT, CLIENT),
        (PROXY, f"198.51.100.1, {CLIENT}", CLIENT),
        (PROXY, f"198.51.100.1, {CLIENT},10.1.2.3 ", CLIENT),
        (PROXY, "10.0.0.9, 10.0.0.8", "10.0.0.9"),
        (PROXY, f"{CLIENT}, nonsense", PROXY),
        (PROXY, f"{CLIENT}, nonsense, 10.0.0.8", "10.0.0.8"),
        (PROXY, "", PROXY),
        (PROXY, f"{CLIENT}:51234", CLIENT),
        (PROXY, "[2001:db8::5]:51234", "2001:db8::5"),
        (PROXY, "2001:db8::5", "2001:db8::5"),
        (PROXY, f"::ffff:{CLIENT}", CLIENT),
        (f"::ffff:{PROXY}", CLIENT, CLIENT),
        (f"::ffff:{CLIENT}", "198.51.100.1", CLIENT),
        ("2001:db8:ffff::1", CLIENT, CLIENT),
        ("2001:db8:ffff::2", CLIENT, "2001:db8:ffff::2"),
        ("", CLIENT, ""),
    ],
)
def test_the_client_is_the_rightmost_address_that_is_no_trusted_proxys(
    peer: str, forwarded_for: str | None, client: str
) -> None:
    assert address(peer, forwarded_for) == client


def test_peers_on_a_unix_socket_are_trusted_where_the_setting_says_so(settings: Any) -> None:
    settings.TRUSTED_PROXIES = trusted_proxies(["unix"])

    assert address("", CLIENT) == CLIENT
    assert address(PROXY, CLIENT) == PROXY


FORWARDED = {
    "Forwarded": "for=198.51.100.1;proto=https",
    "X-Forwarded-Host": "elsewhere.example",
    "X-Forwarded-Port": "444",
    "X-Forwarded-Proto": "https",
}


def test_what_a_stranger_says_of_itself_is_gone_before_anything_reads_it() -> None:
    request = arrived(CLIENT, "198.51.100.1", **FORWARDED, Accept="text/html")

    assert request.headers["Accept"] == "text/html"
    assert not [name for name in request.META if "FORWARDED" in name]


def test_it_is_gone_in_the_application_as_it_is_set_up_too() -> None:
    headers = FORWARDED | {"X-Forwarded-For": PROXY}
    request = Client(headers=headers).get("/healthz", REMOTE_ADDR=CLIENT).wsgi_request

    assert not [name for name in request.META if "FORWARDED" in name]


def test_of_a_trusted_proxys_headers_the_chain_of_addresses_is_used_up() -> None:
    request = arrived(PROXY, CLIENT, **FORWARDED)

    assert {name for name in request.headers if "orwarded" in name} == {
        "X-Forwarded-Host",
        "X-Forwarded-Port",
        "X-Forwarded-Proto",
    }


@pytest.mark.parametrize(
    ("proxies", "peer", "secure"),
    [
        (PROXIES, PROXY, True),
        (PROXIES, CLIENT, False),
        ([], CLIENT, True),  # as documented for BEHIND_TLS_PROXY alone
    ],
)
def test_only_a_trusted_proxy_says_that_a_request_came_over_tls(
    proxies: list[str], peer: str, secure: bool, settings: Any
) -> None:
    settings.TRUSTED_PROXIES = trusted_proxies(proxies)
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

    assert arrived(peer, **FORWARDED).is_secure() is secure


@pytest.mark.parametrize(
    ("proxies", "behind_tls_proxy", "warned"),
    [([], True, True), (PROXIES, True, False), ([], False, False), (PROXIES, False, False)],
)
def test_a_deployment_behind_a_proxy_that_is_not_named_is_warned(
    proxies: list[str], behind_tls_proxy: bool, warned: bool, settings: Any
) -> None:
    settings.TRUSTED_PROXIES = trusted_proxies(proxies)
    settings.SECURE_PROXY_SSL_HEADER = ("A", "b") if behind_tls_proxy else None

    assert [warning.id for warning in proxies_are_named()] == ["web.W001"] * warned


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("proxy.example", "'proxy.example' does not appear to be an IPv4 or IPv6 network"),
        ("10.0.0.1/8", "10.0.0.1/8 has host bits set"),
        ("10.0.0.1:80", "does not appear to be"),
        ("", "does not appear to be"),
        ("0.0.0.0/0", "trusts every client"),
        ("::/0", "trusts every client"),
    ],
)
def test_a_setting_that_names_no_proxy_is_refused(entry: str, reason: str) -> None:
    with pytest.raises(ImproperlyConfigured) as refused:
        trusted_proxies([PROXY, entry])

    assert str(refused.value).startswith("TRUSTED_PROXIES: ")
    assert reason in str(refused.value)
