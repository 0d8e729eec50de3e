"""Attacks on signing in, against a real server behind a proxy that it trusts: nobody is locked out.

The tests are the proxy: they connect from 127.0.0.1 and say where a request comes from.
"""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import pytest
import urllib3
from django.contrib.auth.models import User
from django.db import connection

from tests.conftest import LONG_WINDOW
from tests.support.live import LiveServer

PASSWORD = "right-password"
LIMIT = 20
ATTACKER, HOME, ELSEWHERE = "198.51.100.1", "203.0.113.7", "203.0.113.99"


@pytest.fixture(scope="module")
def _guarded(django_db_setup: None, django_db_blocker: Any, tmp_path_factory: Any) -> Any:
    with django_db_blocker.unblock():
        params = connection.get_connection_params()
    server = LiveServer(database=params, folder=tmp_path_factory.mktemp("guarded"))
    server.environment |= {
        "SIGN_INS_PER_MINUTE": str(LIMIT),
        "SIGN_IN_SECONDS": str(LONG_WINDOW),
        "TRUSTED_PROXIES": "127.0.0.1",
    }
    with server:
        yield server


@pytest.fixture
def url(_guarded: LiveServer, transactional_db: None) -> str:
    """A server with the limits of production, with alice, bob and a member of staff."""
    for name in ("alice", "bob"):
        User.objects.create_user(name, password=PASSWORD)
    User.objects.create_superuser("boss", password=PASSWORD)
    return str(_guarded.url)


def api(url: str, name: str, *, at: str, password: str = "wrong", **connected: Any) -> int:
    """Try to sign in over the API, from an address; return the status."""
    with urllib3.PoolManager(**connected) as pool:
        response = pool.request(
            "POST",
            f"{url}/api/v1/sign-in/",
            json={"username": name, "password": password},
            headers={"X-Forwarded-For": at},
            retries=False,
        )
    return response.status


@dataclass
class Browser:
    """A browser at an address, with its cookies."""

    url: str
    at: str
    cookies: dict[str, str] = field(default_factory=dict)

    def sign_in(self, name: str, *, path: str = "/sign-in/", password: str = PASSWORD) -> int:
        """Send the form of a page; return 302 if it signs in, 429 past a limit."""
        self._send("GET", path, "")
        form = {"username": name, "password": password, "next": "/"}
        return self._send("POST", path, urlencode(form)).status

    def sign_out(self) -> None:
        """Leave the page; what the browser has of other cookies stays."""
        self.cookies.pop("sessionid")

    def _send(self, method: str, path: str, body: str) -> urllib3.BaseHTTPResponse:
        response = urllib3.request(
            method,
            self.url + path,
            body=body,
            headers={
                "X-Forwarded-For": self.at,
                "X-CSRFToken": self.cookies.get("csrftoken", ""),
                "Content-Type": "application/x-www-form-urlencoded",
                "Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items()),
            },
            redirect=False,
            retries=False,
        )
        for cookie in response.headers.getlist("Set-Cookie"):
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        return response


def flood(attempts: list[Callable[[], int]]) -> Counter[int]:
    """Make all attempts, many at the same time; return how many got which status."""
    with ThreadPoolExecutor(12) as pool:
        return Counter(future.result() for future in [pool.submit(each) for each in attempts])


def made_up_names(url: str, count: int, *, at: str = ATTACKER) -> Counter[int]:
    return flood([lambda n=n: api(url, f"made-up-{n}", at=at) for n in range(count)])  # type: ignore[misc]


def under_the_name_of_alice(url: str, *, addresses: int, each: int = LIMIT) -> Counter[int]:
    origins = [f"198.51.100.{n}" for n in range(1, addresses + 1)] * each
    return flood([lambda at=at: api(url, "alice", at=at) for at in origins])  # type: ignore[misc]


def test_made_up_names_from_one_address_lock_nobody_out_who_comes_from_another(url: str) -> None:
    flooded = made_up_names(url, 6 * LIMIT)

    assert flooded == {401: 5 * LIMIT, 429: LIMIT}  # the flood hit, and not one more got through
    assert api(url, "alice", at=HOME, password=PASSWORD) == 200
    assert Browser(url, HOME).sign_in("bob") == 302
    assert Browser(url, HOME).sign_in("boss", path="/admin/login/") == 302


def test_one_address_under_a_customers_name_locks_no_other_address_out(url: str) -> None:
    flooded = under_the_name_of_alice(url, addresses=1, each=3 * LIMIT)

    assert flooded == {401: LIMIT, 429: 2 * LIMIT}
    assert api(url, "alice", at=HOME, password=PASSWORD) == 200
    assert Browser(url, ELSEWHERE).sign_in("alice") == 302


def test_a_flood_under_a_customers_name_slows_the_name_but_not_where_it_signed_in_before(
    url: str,
) -> None:
    assert api(url, "alice", at=HOME, password=PASSWORD) == 200

    flooded = under_the_name_of_alice(url, addresses=8)

    assert flooded == {401: 5 * LIMIT - 1, 429: 3 * LIMIT + 1}  # her own attempt counted too
    assert api(url, "alice", at=ELSEWHERE, password=PASSWORD) == 429  # slowed
    assert api(url, "alice", at=HOME, password=PASSWORD) == 200
    assert Browser(url, HOME).sign_in("alice") == 302


@pytest.mark.parametrize(("name", "path"), [("alice", "/sign-in/"), ("boss", "/admin/login/")])
def test_who_floods_from_the_customers_own_address_does_not_lock_out_the_browser_they_use(
    name: str, path: str, url: str
) -> None:
    browser = Browser(url, HOME)
    assert browser.sign_in(name, path=path) == 302
    browser.sign_out()

    flooded = made_up_names(url, 6 * LIMIT, at=HOME)
    flooded += flood([lambda: api(url, name, at=HOME) for _ in range(LIMIT)])

    assert flooded[429] > LIMIT
    assert Browser(url, HOME).sign_in(name, path=path) == 429
    assert browser.sign_in(name, path=path) == 302


def test_a_browser_that_is_known_has_a_limit_of_its_own(url: str) -> None:
    browser = Browser(url, HOME)
    assert browser.sign_in("alice") == 302
    browser.sign_out()

    tried = [browser.sign_in("alice", password="wrong") for _ in range(LIMIT + 1)]

    assert tried == [200] * LIMIT + [429]
    assert browser.sign_in("alice") == 429
    browser.cookies["device"] = "x" * 43  # made up, it is nobody's
    assert under_the_name_of_alice(url, addresses=5)[429] > 0
    browser.at = ELSEWHERE
    assert browser.sign_in("alice") == 429


def test_a_known_address_has_a_limit_of_its_own(url: str) -> None:
    assert api(url, "alice", at=HOME, password=PASSWORD) == 200

    tried = flood([lambda: api(url, "alice", at=HOME) for _ in range(2 * LIMIT)])

    assert tried == {401: LIMIT - 1, 429: LIMIT + 1}


def test_a_stranger_who_names_another_address_each_time_is_counted_as_one(url: str) -> None:
    stranger: Any = {"source_address": ("127.0.0.2", 0)}  # no trusted proxy

    tried = Counter(api(url, "alice", at=f"192.0.2.{n}", **stranger) for n in range(LIMIT + 1))

    assert tried == {401: LIMIT, 429: 1}
