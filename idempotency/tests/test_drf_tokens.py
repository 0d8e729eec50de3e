"""DRF's tokens, read together with the key's record."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from rest_framework.authtoken.models import Token
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from idempotency import idempotent
from idempotency.drf_tokens import TokenAuthentication
from idempotency.tests.conftest import charges
from idempotency.tests.project.models import User
from idempotency.tests.project.views import charge

pytestmark = pytest.mark.django_db(transaction=True)


class Charge(APIView):
    authentication_classes = [TokenAuthentication]

    @idempotent()
    def post(self, request: Request) -> Response:
        return Response({"charged": charge(), "by": str(request.user), "auth": request.auth.key})

    def get(self, request: Request) -> Response:
        return Response({"by": str(request.user)})


def token_of(user: User) -> str:
    return str(Token.objects.get_or_create(user=user)[0].key)


def sent(token: str | None, view: type[APIView] = Charge, *, method: str = "post") -> Any:
    headers = {"Idempotency-Key": "k"} | ({"Authorization": f"Token {token}"} if token else {})
    request = getattr(RequestFactory(), method)("/", {}, "application/json", headers=headers)
    response = view.as_view()(request)
    return response.render() if isinstance(response, Response) else response


def statements(act: Callable[[], Any]) -> list[str]:
    with CaptureQueriesContext(connection) as captured:
        act()
    return [each["sql"] for each in captured]


def test_a_replay_is_one_statement_and_the_first_response(alice: User) -> None:
    token = token_of(alice)
    first = sent(token)
    assert first.data == {"charged": 1, "by": str(alice), "auth": token}

    assert len(statements(lambda: sent(token))) == 1
    replay = sent(token)
    assert (replay.content, replay["Idempotent-Replayed"]) == (first.content, "true")
    assert charges() == 1


def test_a_request_without_a_key_is_authenticated_by_one_statement_too(alice: User) -> None:
    token = token_of(alice)
    assert sent(token, method="get").data == {"by": str(alice)}
    assert len(statements(lambda: sent(token, method="get"))) == 1


def test_equal_keys_of_two_users_are_two(alice: User, bob: User) -> None:
    assert sent(token_of(alice)).data["charged"] == 1
    assert sent(token_of(bob)).data["charged"] == 2


def test_who_is_refused_by_drf_is_refused_alike(alice: User) -> None:
    token = token_of(alice)
    sent(token)
    unknown, missing = sent("0" * 40), sent(None)
    User.objects.filter(pk=alice.pk).update(is_active=False)
    inactive = sent(token)
    assert [each.status_code for each in (unknown, missing, inactive)] == [401] * 3
    assert unknown.data["detail"] == "Invalid token."
    assert inactive.data["detail"] == "User inactive or deleted."
    assert inactive["WWW-Authenticate"] == "Token"
    assert charges() == 1


def test_a_permission_that_is_gone_is_not_passed_by_a_replay(alice: User) -> None:
    class Nobody(BasePermission):
        def has_permission(self, request: Any, view: Any) -> bool:
            return False

    class Closed(Charge):
        permission_classes = [Nobody]

    token = token_of(alice)
    sent(token)
    assert sent(token, Closed).status_code == 403


def test_the_scope_can_be_another_as_long_as_the_setting_is_it_too(
    alice: User, settings: Any
) -> None:
    class OfOwner(TokenAuthentication):
        scope = "'name:' || owner.username"

    class ChargeOfOwner(Charge):
        authentication_classes = [OfOwner]

    settings.IDEMPOTENCY = {"SCOPE": "idempotency.tests.test_drf_tokens.name_of"}
    token = token_of(alice)
    sent(token, ChargeOfOwner)
    assert len(statements(lambda: sent(token, ChargeOfOwner))) == 1
    assert len(statements(lambda: sent(token))) > 1
    assert charges() == 1


def name_of(request: Any) -> str:
    return f"name:{request.user.username}"


def test_a_field_reads_what_the_database_returns(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    field = User._meta.get_field("username")
    monkeypatch.setattr(field, "from_db_value", lambda value, *_: value.upper(), raising=False)
    assert sent(token_of(alice), method="get").data == {"by": alice.username.upper()}
