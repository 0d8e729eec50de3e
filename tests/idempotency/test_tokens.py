"""Single-use tokens: issued before the click, consumed with the effect, given back on failure."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.utils import timezone
from rest_framework.test import APIClient

from idempotency import rate_limit, tokens
from idempotency.errors import RateLimited
from idempotency.models import RateCount, Record, Token
from orders.models import Order, Product
from tests.conftest import LONG_WINDOW
from tests.support.together import together


@pytest.fixture
def place_with(product: Product) -> Callable[..., Any]:
    def place_with(client: APIClient, key: str, quantity: Any = 1) -> Any:
        body = {"lines": [{"sku": product.sku, "quantity": quantity}]}
        return client.post("/api/v1/orders/", body, headers={"Idempotency-Key": key})

    return place_with


@pytest.fixture
def token(as_alice: APIClient) -> str:
    answer = as_alice.post("/api/v1/tokens/")
    assert answer.status_code == 201
    assert answer["Cache-Control"] == "no-store"
    return str(answer.json()["token"])


def test_a_token_used_twice_gets_the_first_result(
    as_alice: APIClient, token: str, place_with: Callable[..., Any]
) -> None:
    first, second = place_with(as_alice, token), place_with(as_alice, token)
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.content == second.content
    assert second["Idempotent-Replayed"] == "true"
    assert not Token.objects.exists()
    assert Order.objects.count() == 1


def test_a_token_is_of_no_use_to_another_user(
    as_alice: APIClient,
    as_bob: APIClient,
    token: str,
    place_with: Callable[..., Any],
    passed_points: list[str],
) -> None:
    refused = place_with(as_bob, token)
    assert passed_points == [], "it is refused before anything runs"
    assert refused.status_code == 400
    assert refused.json()["type"] == "/problems/idempotency-key-invalid"
    assert not Order.objects.exists()
    assert place_with(as_alice, token).status_code == 201


def test_an_expired_token_is_refused(
    as_alice: APIClient, token: str, place_with: Callable[..., Any], passed_points: list[str]
) -> None:
    earlier = timezone.now() - timedelta(hours=2)
    Token.objects.update(issued_at=earlier, expires_at=earlier + timedelta(minutes=30))
    assert place_with(as_alice, token).status_code == 400
    assert passed_points == [], "it is refused before anything runs"
    assert not Order.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_token_that_expires_while_the_request_runs_undoes_it(
    as_alice: APIClient,
    token: str,
    place_with: Callable[..., Any],
    at_fault_point: Callable[..., None],
) -> None:
    other = connection.copy()

    def expire() -> None:
        with other.cursor() as cursor:
            cursor.execute(
                "UPDATE idempotency_token SET issued_at = now() - interval '2 hours',"
                " expires_at = now() - interval '1 hour'"
            )
        other.close()

    at_fault_point("executed", expire)
    assert place_with(as_alice, token).status_code == 400
    assert not Order.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_token_consumed_by_a_twin_between_our_look_and_our_lock_gets_its_answer(
    as_alice: APIClient,
    alice: User,
    token: str,
    place_with: Callable[..., Any],
    at_fault_point: Callable[..., None],
) -> None:
    twin = place_with(as_alice, "twin")
    other = connection.copy()

    def commit_twin() -> None:
        with other.cursor() as cursor:
            cursor.execute("DELETE FROM idempotency_token")
            cursor.execute(
                "INSERT INTO idempotency_record (caller_id, key, fingerprint_version, fingerprint,"
                " method, path, status, content_type, headers, body, request_id, subject)"
                " SELECT caller_id, %s, fingerprint_version, fingerprint, method, path, status,"
                " content_type, headers, body, '', '' FROM idempotency_record",
                [token],
            )
        other.close()

    at_fault_point("executed", commit_twin)
    answer = place_with(as_alice, token)

    assert answer.status_code == 201
    assert answer["Idempotent-Replayed"] == "true"
    assert answer.content == twin.content
    assert Order.objects.count() == 1


@pytest.mark.parametrize("made_up", ["tok_" + "x" * 43, "tok_", "tok_truncated"])
def test_a_token_that_was_never_issued_is_refused(
    made_up: str, as_alice: APIClient, place_with: Callable[..., Any]
) -> None:
    assert place_with(as_alice, made_up).status_code == 400
    assert not Order.objects.exists()
    assert not Record.objects.exists()


def test_a_failed_request_gives_the_token_back(
    as_alice: APIClient, token: str, place_with: Callable[..., Any]
) -> None:
    assert place_with(as_alice, token, quantity=0).status_code == 400
    assert Token.objects.count() == 1
    assert place_with(as_alice, token).status_code == 201


def test_only_a_digest_of_the_token_is_kept(token: str) -> None:
    assert token not in str(list(Token.objects.values()))
    assert Token.objects.get().digest == tokens.digest(token)


def test_the_purge_deletes_expired_tokens_and_counts_only(alice: User, settings: Any) -> None:
    settings.IDEMPOTENCY_TOKEN_RATE = (60, LONG_WINDOW)
    rate_limit.count("someone", limit=1, seconds=3600)
    RateCount.objects.update(ends_at=timezone.now() - timedelta(seconds=1))
    kept, _ = tokens.issue(alice.pk)
    earlier = timezone.now() - timedelta(hours=2)
    Token.objects.create(
        digest="old", caller=alice, issued_at=earlier, expires_at=earlier + timedelta(minutes=1)
    )
    call_command("purge_idempotency_records")
    assert [row.digest for row in Token.objects.all()] == [tokens.digest(kept)]
    assert [row.subject for row in RateCount.objects.all()] == [f"token:{alice.pk}"]


def test_issue_is_limited_per_user(
    as_alice: APIClient, as_bob: APIClient, settings: Any, freeze_rate_period: None
) -> None:
    settings.IDEMPOTENCY_TOKEN_RATE = (3, 3600)
    answers = [as_alice.post("/api/v1/tokens/") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [201, 201, 201, 429]
    assert 1 <= int(answers[3]["Retry-After"]) <= 3600
    assert answers[3].json()["type"] == "/problems/rate-limited"
    assert as_bob.post("/api/v1/tokens/").status_code == 201


@pytest.fixture
def freeze_rate_period(db: None) -> None:
    """Make sure that the hour does not end in the middle of a test."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 3600 - extract(epoch FROM now())::int %% 3600 < 30", [])
        if cursor.fetchone()[0]:
            pytest.skip("the hour ends within seconds")


@pytest.mark.django_db(transaction=True)
def test_the_limit_is_exact_for_simultaneous_callers(freeze_rate_period: None) -> None:
    def count(_: int) -> bool:
        try:
            rate_limit.count("someone", limit=7, seconds=3600)
        except RateLimited:
            return False
        return True

    assert sum(together(30, count)) == 7
    assert RateCount.objects.get().count == 7


@pytest.mark.django_db(transaction=True)
def test_a_limit_that_looks_and_then_counts_lets_more_through() -> None:
    """The naive version under the same schedule: everybody looks before anybody counts."""
    import threading

    looked = threading.Barrier(30, timeout=60)

    def count(_: int) -> bool:
        row = RateCount.objects.filter(subject="naive").first()
        looked.wait()
        if row is not None and row.count >= 7:
            return False
        RateCount.objects.update_or_create(
            subject="naive", defaults={"ends_at": timezone.now(), "count": 1}
        )
        return True

    assert sum(together(30, count)) == 30


def test_a_new_window_starts_from_one(db: None) -> None:
    rate_limit.count("someone", limit=1, seconds=3600)
    RateCount.objects.update(ends_at=timezone.now())
    rate_limit.count("someone", limit=1, seconds=3600)
    assert RateCount.objects.get().count == 1
