"""Signing in, over the API and in the admin, under one exact limit."""

from typing import Any

from django.conf import settings
from django.contrib.auth import authenticate
from django.http import HttpRequest
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.authtoken.models import Token
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from idempotency import problem, rate_limit

MANY_NAMES = 5  # an address may try so many times as often as one name may be tried from it


def count_attempt(request: HttpRequest | Request, username: str) -> None:
    """Count an attempt to sign in as someone from an address.

    :raises rate_limit.RateLimited: there were too many of late
    """
    limit, seconds = settings.SIGN_IN_RATE
    address = request.META.get("REMOTE_ADDR", "")
    rate_limit.count(f"sign-in:{address}", limit=MANY_NAMES * limit, seconds=seconds)
    rate_limit.count(f"sign-in:{address}:{username.lower()}", limit=limit, seconds=seconds)


def _refused() -> Response:
    response = problem.answer(
        "not-authenticated",
        status=401,
        title="Unauthorized",
        detail="Unknown user name or wrong password.",
    )
    response["WWW-Authenticate"] = "Token"
    return response


class SignInRequest(serializers.Serializer[dict[str, Any]]):
    username = serializers.CharField(max_length=150)
    password = serializers.CharField(max_length=128, trim_whitespace=False)


class SignInAnswer(serializers.Serializer[dict[str, str]]):
    token = serializers.CharField()


class SignInView(APIView):
    """Sign in for the API; a repeat gets the same token."""

    authentication_classes = ()
    permission_classes = ()

    @extend_schema(request=SignInRequest, responses={200: SignInAnswer}, auth=[])
    def post(self, request: Request) -> Response:
        """Return the token to send as `Authorization: Token …`."""
        wanted = SignInRequest(data=request.data)
        wanted.is_valid(raise_exception=True)
        count_attempt(request, wanted.validated_data["username"])
        user = authenticate(request, **wanted.validated_data)
        if user is None:
            return _refused()
        token, _ = Token.objects.get_or_create(user=user)
        return Response({"token": token.key}, headers={"Cache-Control": "no-store"})
