"""What the limits on signing in count, store and give away."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import F
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext

from idempotency.errors import RateLimited
from idempotency.models import RateCount
from tests.conftest import LONG_WINDOW
from tests.support.together import together
from web.models import KnownOrigin
from web.sign_in_limits import (
    ATTEMPTS_PER_ADDRESS,
    ATTEMPTS_PER_NAME,
    DEVICE_COOKIE,
    ORIGIN_LIFETIME,
    ORIGINS_PER_USER_MAX,
    count_attempt,
    remember,
)

LIMIT = 4
HOME = "203.0.113.7"


@pytest.fixture(autouse=True)
def few_attempts(settings: Any, db: None) -> None:
    settings.SIGN_IN_RATE = (LIMIT, LONG_WINDOW)


def request_from(address: str, *, device: str = "") -> HttpRequest:
    request = RequestFactory().post("/sign-in/", REMOTE_ADDR=address)
    if device:
        request.COOKIES[DEVICE_COOKIE] = device
    return request


def passes(name: str, *, at: str, device: str = "") -> bool:
    """Count an attempt, and return True if it is within the limits."""
    try:
        count_attempt(request_from(at, device=device), name)
    except RateLimited:
        return False
    return True


def passed(attempts: int, name: str, *, at: str, device: str = "") -> int:
    return sum(passes(name, at=at, device=device) for _ in range(attempts))


def used_up(name: str) -> None:
    """Use up the attempts under a name from wherever it did not sign in before."""
    for number in range(ATTEMPTS_PER_NAME):
        assert passed(LIMIT, name, at=f"198.51.100.{number}") == LIMIT
    assert not passes(name, at="198.51.100.200")


def device_of(user: User, *, at: str = HOME, device: str = "") -> str:
    """Sign in with a browser, and return the cookie that it then has."""
    response = HttpResponse()
    remember(request_from(at, device=device), user, response)
    return response.cookies[DEVICE_COOKIE].value


# --- What counts as one


def test_the_addresses_of_a_customers_ipv6_network_are_one() -> None:
    tried = [passes("alice", at=f"2001:db8:1:2::{n:x}") for n in range(1, LIMIT + 2)]

    assert tried == [True] * LIMIT + [False]
    assert passes("alice", at="2001:db8:1:3::1")


def test_an_address_is_limited_over_all_names_and_a_name_over_all_addresses() -> None:
    names = [passes(f"name-{n}", at=HOME) for n in range(ATTEMPTS_PER_ADDRESS * LIMIT + 1)]
    used_up("alice")

    assert names == [True] * ATTEMPTS_PER_ADDRESS * LIMIT + [False]
    assert passes("bob", at="198.51.100.200")


def test_one_address_alone_never_uses_up_a_name() -> None:
    assert passed(20 * LIMIT, "alice", at=HOME) == LIMIT

    assert passes("alice", at="203.0.113.99")


def test_peers_without_an_address_share_one_count() -> None:
    assert passed(LIMIT + 1, "alice", at="") == LIMIT


@pytest.mark.django_db(transaction=True)
def test_of_many_attempts_at_once_exactly_as_many_pass_as_may() -> None:
    tried = together(3 * LIMIT, lambda _: passes("alice", at=HOME))
    from_everywhere = together(30, lambda n: passes("bob", at=f"198.51.100.{n % 15}"))

    assert sum(tried) == LIMIT
    assert sum(from_everywhere) == ATTEMPTS_PER_NAME * LIMIT


# --- Where a name signed in before


def test_where_a_name_signed_in_before_a_flood_under_it_does_not_count(alice: User) -> None:
    remember(request_from(HOME), alice)
    used_up("alice")

    assert passed(LIMIT + 1, "Alice", at=HOME) == LIMIT


def test_a_browser_that_is_known_has_a_count_of_its_own_whatever_its_address(alice: User) -> None:
    device = device_of(alice)
    used_up("alice")
    assert passed(LIMIT + 1, "alice", at=HOME) == LIMIT

    assert passed(LIMIT + 1, "alice", at=HOME, device=device) == LIMIT
    assert not passes("alice", at="203.0.113.99", device=device)


@pytest.mark.parametrize("device", ["made-up", "x" * 43, "x" * 5000])
def test_a_made_up_browser_counts_as_none(device: str, alice: User) -> None:
    device_of(alice)
    used_up("alice")

    assert not passes("alice", at="203.0.113.99", device=device)


def test_what_is_known_of_one_user_is_not_of_another(alice: User, bob: User) -> None:
    device = device_of(alice)
    used_up("bob")

    assert not passes("bob", at=HOME)
    assert not passes("bob", at=HOME, device=device)


def test_a_browser_of_two_users_is_known_of_both(alice: User, bob: User) -> None:
    device = device_of(alice)
    assert device_of(bob, device=device) == device
    used_up("alice")
    used_up("bob")

    assert passes("alice", at="203.0.113.99", device=device)
    assert passes("bob", at="203.0.113.99", device=device)


def test_who_has_not_signed_in_for_long_is_not_known_by_the_databases_clock(alice: User) -> None:
    device = device_of(alice)
    used_up("alice")
    KnownOrigin.objects.update(seen_at=F("seen_at") - ORIGIN_LIFETIME - timedelta(hours=1))

    assert not passes("alice", at=HOME)
    assert not passes("alice", at=HOME, device=device)


def test_the_cookie_of_a_browser_is_not_for_scripts_and_lasts(settings: Any, alice: User) -> None:
    settings.SESSION_COOKIE_SECURE = True
    response = HttpResponse()

    remember(request_from(HOME), alice, response)

    cookie = response.cookies[DEVICE_COOKIE]
    assert (cookie["httponly"], cookie["secure"], cookie["samesite"]) == (True, True, "Lax")
    assert cookie["max-age"] == ORIGIN_LIFETIME.total_seconds()


# --- What it stores


def test_the_table_of_where_users_signed_in_holds_no_address_and_no_cookie(alice: User) -> None:
    device = device_of(alice)
    with connection.cursor() as cursor:
        cursor.execute("SELECT origin::text FROM web_knownorigin origin")
        stored = " ".join(row for (row,) in cursor.fetchall())

    assert len(KnownOrigin.objects.all()) == 2
    assert HOME not in stored
    assert device not in stored


def test_of_a_user_only_so_many_origins_are_known_and_the_newest_stay(
    alice: User, bob: User
) -> None:
    remember(request_from("198.51.100.1"), bob)  # he was there first, and still is
    for number in range(ORIGINS_PER_USER_MAX + 3):
        remember(request_from(f"192.0.2.{number}"), alice)
        KnownOrigin.objects.update(seen_at=F("seen_at") - timedelta(seconds=1))
    used_up("alice")

    assert KnownOrigin.objects.filter(user=alice).count() == ORIGINS_PER_USER_MAX
    assert KnownOrigin.objects.filter(user=bob).count() == 1
    assert not passes("alice", at="192.0.2.2")
    assert passes("alice", at="192.0.2.3")


def test_a_second_sign_in_adds_no_row_and_clears_away_what_is_old(alice: User, bob: User) -> None:
    remember(request_from(HOME), bob)
    KnownOrigin.objects.update(seen_at=F("seen_at") - ORIGIN_LIFETIME - timedelta(hours=1))

    for _ in range(3):
        remember(request_from(HOME), alice)

    assert [origin.user for origin in KnownOrigin.objects.all()] == [alice]


def test_only_who_signs_in_is_remembered(alice: User) -> None:
    alice.set_password("right-password")
    alice.save()
    form = {"username": "alice", "password": "wrong"}

    refused = Client().post("/sign-in/", form)
    Client().post("/api/v1/sign-in/", form)
    assert not KnownOrigin.objects.exists()
    assert DEVICE_COOKIE not in refused.cookies

    signed_in = Client().post("/sign-in/", form | {"password": "right-password"})
    assert KnownOrigin.objects.count() == 2
    assert DEVICE_COOKIE in signed_in.cookies


def test_past_its_limit_an_address_makes_no_more_counters() -> None:
    flooded = [passes(f"made-up-{n}", at=HOME) for n in range(10 * ATTEMPTS_PER_ADDRESS * LIMIT)]

    assert sum(flooded) == ATTEMPTS_PER_ADDRESS * LIMIT
    assert RateCount.objects.count() == 1 + 2 * ATTEMPTS_PER_ADDRESS * LIMIT


def test_attempts_clear_away_the_counters_of_earlier_ones() -> None:
    names = ATTEMPTS_PER_ADDRESS * LIMIT
    assert all(passes(f"made-up-{n}", at=HOME) for n in range(names))
    RateCount.objects.update(ends_at=F("ends_at") - timedelta(seconds=LONG_WINDOW))

    assert all(passes(f"later-{n}", at=HOME) for n in range(names))

    assert RateCount.objects.count() == 1 + 2 * names


# --- What it gives away


def shape(attempt: Callable[[], Any]) -> list[str]:
    """Return the statements of an attempt, without their values."""
    with CaptureQueriesContext(connection) as captured:
        attempt()
    return [re.sub(r"'[^']*'", "'…'", query["sql"]) for query in captured.captured_queries]


@pytest.mark.parametrize("path", ["/sign-in/", "/api/v1/sign-in/", "/admin/login/"])
def test_a_wrong_attempt_costs_the_same_statements_whether_or_not_the_name_exists(
    path: str, alice: User
) -> None:
    device_of(alice)  # known from home, not from where the attempts come from
    alice.set_password("right-password")
    alice.save()

    def attempt(name: str) -> None:
        form = {"username": name, "password": "wrong"}
        json: Any = {"content_type": "application/json"} if "api" in path else {}
        assert Client().post(path, form, **json).status_code in {200, 401}

    existing = shape(lambda: attempt("alice"))

    assert len(existing) == 6  # known, three counts, the counters of earlier ones, the user
    assert existing == shape(lambda: attempt("nobody"))
