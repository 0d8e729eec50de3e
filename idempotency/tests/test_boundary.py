"""The boundary around a view without any guard: what is stored, replayed, refused, rolled back."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.core.management import call_command
from django.db import OperationalError, connection, transaction
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from idempotency import Claim, claim_of_form, failpoints, is_in_flight
from idempotency.claim import claim_key
from idempotency.errors import Unauthenticated
from idempotency.fingerprint import Content
from idempotency.models import Record
from idempotency.records import STORE
from idempotency.tests.conftest import OPENING, Debiting
from idempotency.tests.project.models import Account, Debit, User
from idempotency.tests.support import age, read_only, together

AMOUNT = 5


def code(response: Any) -> str:
    """Return the code of a refusal, as stock DRF keeps it."""
    return str(response.data["detail"].code)


def charged(account: Account) -> int:
    account.refresh_from_db()
    taken = OPENING - account.balance
    assert taken == sum(Debit.objects.values_list("amount", flat=True))
    return taken


def test_a_duplicate_gets_the_first_response_byte_for_byte(
    debit: Debiting, account: Account
) -> None:
    first, second = debit(), debit()

    assert (first.status_code, second.status_code) == (201, 201)
    assert first.content == second.content
    assert first["Content-Type"] == second["Content-Type"]
    assert "Idempotent-Replayed" not in first
    assert second["Idempotent-Replayed"] == "true"
    assert charged(account) == AMOUNT


def test_location_is_replayed(debit: Debiting, account: Account) -> None:
    responses = [debit(), debit()]
    assert responses[0]["Location"] == responses[1]["Location"]
    assert responses[0].content == responses[1].content
    assert charged(account) == AMOUNT


def test_the_quoted_key_is_the_bare_key(debit: Debiting, account: Account) -> None:
    debit("abc")
    assert debit('"abc"')["Idempotent-Replayed"] == "true"
    assert charged(account) == AMOUNT


@pytest.mark.parametrize("key", [None, "", "a b", "x" * 256])
def test_a_missing_or_bad_key_leaves_no_row(
    key: str | None, debit: Debiting, account: Account
) -> None:
    response = debit(key)
    assert response.status_code == 400
    assert code(response) == f"idempotency-key-{'missing' if key is None else 'invalid'}"
    assert not Record.objects.exists()
    assert charged(account) == 0


def test_a_key_with_another_request_is_refused_and_shows_no_response(
    debit: Debiting, account: Account
) -> None:
    first = debit()

    response = debit(body={"amount": 6})

    assert response.status_code == 422
    assert code(response) == "idempotency-key-reused"
    assert first["Location"] not in response.content.decode()
    assert charged(account) == AMOUNT


def test_two_callers_equal_keys_never_meet(
    debit: Debiting, alice: User, bob: User, as_bob: APIClient, account: Account
) -> None:
    first = debit()

    response = debit(client=as_bob)

    assert response.status_code == 404
    assert first["Location"] not in response.content.decode()
    assert Record.objects.filter(scope=f"user:{alice.pk}").count() == 1
    assert not Record.objects.filter(scope=f"user:{bob.pk}").exists()
    assert charged(account) == AMOUNT


def test_a_replay_is_not_given_to_someone_who_is_not_signed_in(debit: Debiting) -> None:
    debit()
    assert debit(client=APIClient()).status_code == 403


def test_a_returned_decline_is_stored_and_replayed(debit: Debiting, account: Account) -> None:
    responses = [debit(body={"amount": OPENING + 1}) for _ in range(2)]
    assert [response.status_code for response in responses] == [402, 402]
    assert responses[0].content == responses[1].content
    assert responses[1]["Idempotent-Replayed"] == "true"
    assert charged(account) == 0


@pytest.mark.parametrize("body", [{}, {"amount": "x"}, {"amount": 0}, []])
def test_what_is_raised_is_not_stored_so_the_key_may_try_again(
    body: Any, debit: Debiting, account: Account
) -> None:
    assert debit(body=body).status_code == 400
    assert not Record.objects.exists()

    assert debit().status_code == 201
    assert charged(account) == AMOUNT


@pytest.mark.parametrize("point", ["key-claimed", "debited", "executed", "response-stored"])
def test_an_exception_anywhere_leaves_nothing_and_the_key_may_try_again(
    point: str, debit: Debiting, account: Account, at_failpoint: Callable[..., None]
) -> None:
    def fail() -> None:
        raise RuntimeError(point)

    at_failpoint(point, fail)

    assert debit().status_code == 500
    assert not Record.objects.exists()
    assert charged(account) == 0
    assert debit().status_code == 201
    assert charged(account) == AMOUNT


def conflict(state: str) -> Callable[[], None]:
    """Raise what Django raises for a server's error of this sqlstate."""

    def fail() -> None:
        cause = Exception(state)
        cause.sqlstate = state  # type: ignore[attr-defined]
        raise OperationalError(state) from cause

    return fail


@pytest.mark.parametrize("state", ["40001", "40P01"])
def test_a_deadlock_or_serialization_failure_is_run_again_unseen(
    state: str, debit: Debiting, account: Account, at_failpoint: Callable[..., None]
) -> None:
    at_failpoint("debited", conflict(state))
    assert debit().status_code == 201
    assert charged(account) == AMOUNT


@pytest.mark.parametrize("state", ["55P03", "57014", "53300", "53100"])
def test_any_other_database_error_is_raised_and_leaves_nothing(
    state: str, debit: Debiting, account: Account, at_failpoint: Callable[..., None]
) -> None:
    at_failpoint("debited", conflict(state))
    assert debit().status_code == 500
    assert not Record.objects.exists()
    assert charged(account) == 0
    assert debit().status_code == 201


def test_a_conflict_that_never_ends_is_given_up_after_a_bounded_number_of_runs(
    debit: Debiting, account: Account
) -> None:
    runs = []

    def hook(name: str) -> None:
        if name == "debited":
            runs.append(name)
            conflict("40P01")()

    failpoints.install(hook)
    try:
        response = debit()
    finally:
        failpoints.install(None)
    assert response.status_code == 500
    assert len(runs) == 3
    assert charged(account) == 0


@pytest.mark.parametrize("status", [200, 201, 202, 204, 402, 409, 422])
def test_a_returned_final_response_is_stored_with_its_effect(
    status: int, as_alice: APIClient
) -> None:
    response = as_alice.post(f"/status/{status}/", {}, headers={"Idempotency-Key": "k"})
    assert response.status_code == status
    record = Record.objects.get()
    assert (record.status, record.subject) == (status, f"status:{status}")
    assert Account.objects.count() == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 503])
def test_a_returned_failure_is_undone_with_its_effect(status: int, as_alice: APIClient) -> None:
    response = as_alice.post(f"/status/{status}/", {}, headers={"Idempotency-Key": "k"})
    assert response.status_code == status
    assert not Record.objects.exists()
    assert not Account.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_duplicate_that_commits_between_our_lookup_and_our_lock_wins_and_is_replayed(
    debit: Debiting, alice: User, account: Account, at_failpoint: Callable[..., None]
) -> None:
    path = f"/accounts/{account.pk}/debits/"
    duplicate = connection.copy()

    def commit_duplicate() -> None:
        content = Content("POST", path, body={"amount": AMOUNT})
        row = Claim(f"user:{alice.pk}", "k", content).row(subject="") | {
            "status": 200,
            "content_type": "application/json",
            "headers": "{}",
            "body": b'{"by": "the duplicate"}',
            "retention": timedelta(days=1),
        }
        with duplicate.cursor() as cursor:
            cursor.execute(STORE, row)
        duplicate.close()

    at_failpoint("executed", commit_duplicate)
    response = debit()

    assert (response.status_code, response.content) == (200, b'{"by": "the duplicate"}')
    assert response["Idempotent-Replayed"] == "true"
    assert charged(account) == 0


@pytest.mark.django_db(transaction=True)
def test_many_at_once_with_one_key_have_one_effect(debit: Debiting, account: Account) -> None:
    responses = together(8, lambda _: debit(prefer="wait=0"))

    statuses = sorted(response.status_code for response in responses)
    assert statuses.count(201) >= 1
    assert set(statuses) <= {201, 409}
    assert charged(account) == AMOUNT
    assert debit()["Idempotent-Replayed"] == "true"


@pytest.fixture
def account_is_busy(account: Account, alice: User) -> Iterator[None]:
    """Another session holds the lock of this caller's requests for the account."""
    claim = Claim(f"user:{alice.pk}", "other", subject=f"account:{account.pk}")
    other = connection.copy()
    with other.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [claim.subject_lock])
        yield
    other.close()


@pytest.mark.django_db(transaction=True)
def test_a_busy_subject_that_needs_no_waiting_is_not_waited_for(
    debit: Debiting, account_is_busy: None
) -> None:
    assert debit(body={"amount": OPENING + 1}, prefer="wait=0").status_code == 402


@pytest.mark.django_db(transaction=True)
def test_a_busy_subject_that_needs_waiting_is_waited_for_by_other_keys_too(
    debit: Debiting, account: Account, account_is_busy: None
) -> None:
    other = connection.copy()
    with other.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("SELECT 1 FROM project_account WHERE id = %s FOR UPDATE", [account.pk])
        response = debit("another-tab", prefer="wait=0")
    other.close()
    assert response.status_code == 409
    assert code(response) == "idempotency-key-in-use"
    assert not Record.objects.exists()
    assert charged(account) == 0


def test_an_expired_key_is_refused_and_never_run_again(debit: Debiting, account: Account) -> None:
    debit()
    age(31)

    response = debit()

    assert response.status_code == 410
    assert code(response) == "idempotency-key-expired"
    assert charged(account) == AMOUNT


def test_the_purge_leaves_a_tombstone_and_spares_what_is_young(
    debit: Debiting, account: Account
) -> None:
    debit("old")
    age(31)
    debit("young")

    call_command("purge_idempotency_records", "--batch", "1")
    call_command("purge_idempotency_records")

    tombstone, young = Record.objects.order_by("id")
    assert (tombstone.status, tombstone.body, tombstone.content_type) == (None, None, "")
    assert young.body is not None
    assert debit("old").status_code == 410
    assert debit("young")["Idempotent-Replayed"] == "true"
    assert charged(account) == 2 * AMOUNT


@pytest.mark.parametrize("damage", [{"fingerprint_version": 2}, {"body": b"\xff\xfe not json"}])
def test_a_record_that_cannot_be_read_is_refused_and_never_run_again(
    damage: dict[str, Any], debit: Debiting, account: Account
) -> None:
    debit()
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE idempotency_record DISABLE TRIGGER USER")
        Record.objects.update(**damage)
        cursor.execute("ALTER TABLE idempotency_record ENABLE TRIGGER USER")

    response = debit()

    assert response.status_code == 500
    assert code(response) == "idempotency-record-unreadable"
    assert charged(account) == AMOUNT


@pytest.mark.django_db(transaction=True)
def test_a_first_request_is_one_commit_and_its_replay_reads_only(debit: Debiting) -> None:
    with CaptureQueriesContext(connection) as keyed:
        assert debit().status_code == 201
    statements = [query["sql"] for query in keyed.captured_queries]
    assert statements.count("COMMIT") == 1

    with CaptureQueriesContext(connection) as replayed:
        assert debit()["Idempotent-Replayed"] == "true"
    words = [query["sql"].split()[0] for query in replayed.captured_queries]
    assert words == ["BEGIN", "SELECT", "COMMIT"]
    with read_only():
        assert debit()["Idempotent-Replayed"] == "true"
        assert debit("another").status_code == 500


def test_a_form_of_nobody_has_no_key() -> None:
    request = RequestFactory().post("/pay/")
    request.user = AnonymousUser()

    with pytest.raises(Unauthenticated):
        claim_of_form(request, "k")


def test_what_is_in_flight_is_so_for_its_caller_and_its_subject_only(
    alice: User, bob: User
) -> None:
    one, other = "order:1", "order:2"
    with transaction.atomic():
        claim_key(Claim(f"user:{bob.pk}", "k", subject=one))

        assert is_in_flight(scope=f"user:{bob.pk}", subject=one)
        assert not is_in_flight(scope=f"user:{alice.pk}", subject=one)
        assert not is_in_flight(scope=f"user:{bob.pk}", subject=other)
