"""A record that the caller's authentication has read: replayed by that, and never to another."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.db import OperationalError, connection
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from rest_framework.authentication import BaseAuthentication
from rest_framework.decorators import api_view, authentication_classes
from rest_framework.request import Request
from rest_framework.response import Response

from idempotency import ahead, idempotent, signals
from idempotency.models import Record
from idempotency.tests.conftest import charges
from idempotency.tests.project.models import User
from idempotency.tests.project.views import charge
from idempotency.tests.support import age, on_a_standby

pytestmark = pytest.mark.django_db(transaction=True)

View = Callable[[HttpRequest], HttpResponse]
AUTHENTICATE = f"""
SELECT {ahead.COLUMNS} FROM {User._meta.db_table} owner {ahead.join("'user:' || owner.id")}
 WHERE owner.id = %(user)s
"""


@idempotent()
def plain(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"charged {charge()}")


def authenticated(request: HttpRequest, user: User) -> HttpRequest:
    """Give a request its user by one statement, which brings the record of its key."""
    with connection.cursor() as cursor:
        cursor.execute(AUTHENTICATE, {"user": user.pk, **ahead.values(request)})
        ahead.note(request, cursor.fetchone())
    request.user = user  # type: ignore[assignment]
    return request


def sent(user: User, view: View = plain, *, body: str = "{}", key: str = "k") -> HttpResponse:
    headers = {"Idempotency-Key": key}
    request = RequestFactory().post("/", body, "application/json", headers=headers)
    return view(authenticated(request, user))


def statements(act: Callable[[], Any]) -> int:
    with CaptureQueriesContext(connection) as captured:
        act()
    return len(captured)


def test_a_replay_needs_no_statement_but_the_authentications(alice: User) -> None:
    first = sent(alice)

    assert statements(lambda: sent(alice)) == 1
    replay = sent(alice)
    assert (replay.content, replay["Idempotent-Replayed"]) == (first.content, "true")
    assert "Idempotent-Replayed" not in first
    assert charges() == 1


def test_nothing_is_replayed_from_a_standby(alice: User) -> None:
    """A demoted primary, started again, shows commits that no other server has."""
    first = sent(alice)

    with on_a_standby(), pytest.raises(OperationalError, match="standby"):
        sent(alice)
    assert sent(alice).content == first.content
    assert charges() == 1


def test_a_replay_tells_who_listens(alice: User) -> None:
    received: list[str] = []

    def receive(key_digest: str, **_: Any) -> None:
        received.append(key_digest)

    sent(alice)
    signals.replayed.connect(receive)
    try:
        sent(alice)
    finally:
        signals.replayed.disconnect(receive)
    assert len(received) == 1


def test_a_key_with_a_quoted_spelling_is_the_same_key(alice: User) -> None:
    sent(alice)
    assert statements(lambda: sent(alice, key='"k"')) == 1


def test_another_users_equal_key_is_another(alice: User, bob: User) -> None:
    sent(alice)
    assert "Idempotent-Replayed" not in sent(bob)
    assert charges() == 2


def test_what_was_seen_of_one_scope_is_not_replayed_in_another(alice: User) -> None:
    @idempotent(scope=lambda request: "tenant:1")
    def of_tenant(request: HttpRequest) -> HttpResponse:
        return HttpResponse(f"charged {charge()} for the tenant")

    sent(alice)
    assert sent(alice, of_tenant).content == b"charged 2 for the tenant"
    assert sent(alice, of_tenant).content == b"charged 2 for the tenant"


def test_what_was_seen_in_one_database_is_not_replayed_of_another(alice: User) -> None:
    sent(alice)
    headers = {"Idempotency-Key": "k"}
    request = RequestFactory().post("/", "{}", "application/json", headers=headers)
    with connection.cursor() as cursor:
        cursor.execute(AUTHENTICATE, {"user": alice.pk, **ahead.values(request)})
        ahead.note(request, cursor.fetchone(), using="another")
    request.user = alice  # type: ignore[assignment]
    assert statements(lambda: plain(request)) > 0


def test_another_request_under_the_key_is_refused(alice: User) -> None:
    sent(alice)
    assert sent(alice, body='{"amount": 2}').status_code == 422
    assert charges() == 1


def test_a_response_past_its_retention_is_refused(alice: User) -> None:
    sent(alice)
    age(days=31)
    assert sent(alice).status_code == 410
    assert charges() == 1


def test_a_view_that_refuses_the_caller_replays_nothing(alice: User) -> None:
    sent(alice)

    def guarded(request: HttpRequest) -> HttpResponse:
        raise PermissionDenied

    with pytest.raises(PermissionDenied):
        sent(alice, guarded)


def test_an_invalid_key_is_for_the_view_to_refuse(alice: User) -> None:
    assert sent(alice, key="not a key").status_code == 400
    assert not Record.objects.exists()


def test_a_request_that_reads_looks_no_key_up(alice: User) -> None:
    request = RequestFactory().get("/", headers={"Idempotency-Key": "k"})
    assert ahead.values(request) == {"idempotency_key": None}


def test_a_rest_view_replays_what_its_authentication_saw(alice: User) -> None:
    class Authentication(BaseAuthentication):
        def authenticate(self, request: Request) -> tuple[User, None]:
            with connection.cursor() as cursor:
                cursor.execute(AUTHENTICATE, {"user": alice.pk, **ahead.values(request)})
                ahead.note(request, cursor.fetchone())
            return alice, None

    @api_view(["POST"])
    @authentication_classes([Authentication])
    @idempotent()
    def view(request: Request) -> Response:
        return Response({"charges": charge()})

    def post() -> Any:
        headers = {"Idempotency-Key": "k"}
        return view(RequestFactory().post("/", "{}", "application/json", headers=headers))

    first, retry = post(), post()
    assert (retry.content, retry["Idempotent-Replayed"]) == (first.content, "true")
    assert charges() == 1
