"""Single-use tokens: issued before the click, consumed with the effect, given back on failure."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.utils import timezone
from rest_framework.test import APIClient

from idempotency import rate_limit, tokens
from idempotency.errors import RateLimited
from idempotency.keys import identity
from idempotency.models import RateCount, Record, Token
from idempotency.tests.conftest import Debiting
from idempotency.tests.project.models import Debit, User
from idempotency.tests.support import together

LONG_WINDOW = 10 * 365 * 24 * 3600  # of a rate; no test runs across its end


def test_a_token_used_twice_gets_the_first_result(token: str, debit: Debiting) -> None:
    first, second = debit(token), debit(token)
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.content == second.content
    assert second["Idempotent-Replayed"] == "true"
    assert not Token.objects.exists()
    assert Debit.objects.count() == 1


def test_a_token_is_of_no_use_to_another_user(
    as_alice: APIClient,
    as_bob: APIClient,
    token: str,
    debit: Debiting,
    passed_failpoints: list[str],
) -> None:
    refused = debit(token, client=as_bob)
    assert passed_failpoints == [], "it is refused before anything runs"
    assert refused.status_code == 400
    assert refused.data["detail"].code == "idempotency-key-invalid"
    assert not Debit.objects.exists()
    assert debit(token).status_code == 201


def test_an_expired_token_is_refused(
    as_alice: APIClient, token: str, debit: Debiting, passed_failpoints: list[str]
) -> None:
    earlier = timezone.now() - timedelta(hours=2)
    Token.objects.update(issued_at=earlier, expires_at=earlier + timedelta(minutes=30))
    assert debit(token).status_code == 400
    assert passed_failpoints == [], "it is refused before anything runs"
    assert not Debit.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_token_that_expires_while_the_request_runs_undoes_it(
    as_alice: APIClient,
    token: str,
    debit: Debiting,
    at_failpoint: Callable[..., None],
) -> None:
    other = connection.copy()

    def expire() -> None:
        with other.cursor() as cursor:
            cursor.execute(
                "UPDATE idempotency_token SET issued_at = now() - interval '2 hours',"
                " expires_at = now() - interval '1 hour'"
            )
        other.close()

    at_failpoint("executed", expire)
    assert debit(token).status_code == 400
    assert not Debit.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_token_consumed_by_another_between_our_look_and_our_lock_gets_its_response(
    as_alice: APIClient,
    alice: User,
    token: str,
    debit: Debiting,
    at_failpoint: Callable[..., None],
) -> None:
    earlier = debit("other")
    other = connection.copy()

    def commit_other() -> None:
        with other.cursor() as cursor:
            cursor.execute("DELETE FROM idempotency_token")
            cursor.execute(
                "INSERT INTO idempotency_record (identity, scope, key, fingerprint_version,"
                " fingerprint_by, fingerprint, method, path, status, content_type, headers, body,"
                " request_id, subject) SELECT %s, scope, %s, fingerprint_version, '', fingerprint,"
                " method, path, status, content_type, headers, body, '', ''"
                " FROM idempotency_record",
                [identity(f"user:{alice.pk}", token), token],
            )
        other.close()

    at_failpoint("executed", commit_other)
    response = debit(token)

    assert response.status_code == 201
    assert response["Idempotent-Replayed"] == "true"
    assert response.content == earlier.content
    assert Debit.objects.count() == 1


@pytest.mark.parametrize("made_up", ["tok_" + "x" * 43, "tok_", "tok_truncated"])
def test_a_token_that_was_never_issued_is_refused(
    made_up: str, as_alice: APIClient, debit: Debiting
) -> None:
    assert debit(made_up).status_code == 400
    assert not Debit.objects.exists()
    assert not Record.objects.exists()


def test_a_failed_request_gives_the_token_back(token: str, debit: Debiting) -> None:
    assert debit(token, {"amount": 0}).status_code == 400
    assert Token.objects.count() == 1
    assert debit(token).status_code == 201


def test_only_a_digest_of_the_token_is_kept(token: str) -> None:
    assert token not in str(list(Token.objects.values()))
    assert Token.objects.get().digest == tokens.digest(token)


def test_the_purge_deletes_expired_tokens_and_counts_only(alice: User, settings: Any) -> None:
    settings.IDEMPOTENCY = {"TOKEN_RATE": (60, LONG_WINDOW)}
    rate_limit.count("someone", limit=1, seconds=3600)
    RateCount.objects.update(ends_at=timezone.now() - timedelta(seconds=1))
    unused, _ = tokens.issue(f"user:{alice.pk}")
    earlier = timezone.now() - timedelta(hours=2)
    Token.objects.create(
        digest="old", scope="x", issued_at=earlier, expires_at=earlier + timedelta(minutes=1)
    )
    call_command("purge_idempotency_records")
    assert [row.digest for row in Token.objects.all()] == [tokens.digest(unused)]
    assert [row.subject for row in RateCount.objects.all()] == [f"token:user:{alice.pk}"]


def test_issue_is_limited_per_user(as_alice: APIClient, as_bob: APIClient, settings: Any) -> None:
    settings.IDEMPOTENCY = {"TOKEN_RATE": (3, LONG_WINDOW)}
    responses = [as_alice.post("/api/tokens/") for _ in range(4)]
    assert [response.status_code for response in responses] == [201, 201, 201, 429]
    assert responses[3].data["detail"].code == "rate-limited"
    assert as_bob.post("/api/tokens/").status_code == 201


@pytest.mark.django_db(transaction=True)
def test_the_limit_is_exact_for_simultaneous_callers() -> None:
    def count(_: int) -> bool:
        try:
            rate_limit.count("someone", limit=7, seconds=LONG_WINDOW)
        except RateLimited:
            return False
        return True

    assert sum(together(30, count)) == 7
    assert RateCount.objects.get().count == 7


@pytest.mark.django_db(transaction=True)
def test_a_limit_that_looks_and_then_counts_lets_more_through() -> None:
    """The naive version under the same schedule: everybody looks before anybody counts."""
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
