"""A decorator on a view: the interceptor checks the request's key, the view knows nothing of it.

Source: the articles' general solution (拦截器 + 注解, interceptor plus annotation); the decorator
    is this project's own, `idempotency/boundary.py`.
Stops: every duplicate of the request, for any view it is put on, and gives it the first response
    byte for byte: key, effect and response are one commit.
Does not stop: two keys for one order, and two orders for one balance: it sees requests, not orders.
    Behind it the view still wants its own rule, as `orders` and `payments` here have.
"""

import json

from django.contrib.auth.models import User
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from idempotency import idempotent
from lab.harness.bank import ClickRefused, PayClick, charge

SCHEMA = """
CREATE TABLE idempotency_record (LIKE public.idempotency_record INCLUDING ALL);
ALTER TABLE idempotency_record
    RENAME CONSTRAINT idempotency_record_identity_key TO idempotency_record_once"""


class Owner(BaseAuthentication):
    """The lab's only customer of an account is its owner."""

    def authenticate(self, request: Request) -> tuple[User, None]:
        return User(pk=dict(request.data)["account"]), None


class ChargeView(APIView):
    """The naive view, and one line above its method."""

    authentication_classes = (Owner,)

    @idempotent()
    def post(self, request: Request) -> Response:
        return Response(charge(PayClick(**dict(request.data))))


def pay(click: PayClick) -> str:
    """Charge once for a key; a duplicate gets the first response."""
    assert click.http is not None
    response = ChargeView.as_view()(click.http)
    if response.status_code != 200:
        raise ClickRefused(f"{response.status_code} {response.reason_phrase}")
    return str(json.loads(response.content))
