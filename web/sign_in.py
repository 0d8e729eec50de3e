"""Signing in, over the API, on the pages and in the admin, under one exact limit."""

from typing import Any

from django.conf import settings
from django.contrib.auth import authenticate
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiExample, OpenApiResponse
from rest_framework import serializers
from rest_framework.authtoken.models import Token
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from idempotency import rate_limit
from idempotency.errors import RateLimited
from web import problems
from web.openapi import Particulars, described

ATTEMPTS_PER_ADDRESS = 5  # times the limit for one name from that address


def count_attempt(request: HttpRequest | Request, username: str) -> None:
    """Count an attempt to sign in under a name from an address.

    :raises idempotency.errors.RateLimited: there were too many recently
    """
    limit, seconds = settings.SIGN_IN_RATE
    address = request.META.get("REMOTE_ADDR", "")
    rate_limit.count(f"sign-in:{address}", limit=ATTEMPTS_PER_ADDRESS * limit, seconds=seconds)
    rate_limit.count(f"sign-in:{address}:{username.lower()}", limit=limit, seconds=seconds)


def _refused() -> Response:
    response = problems.response(
        "not-authenticated",
        title=_("Unauthorized"),
        detail=_("Unknown user name or wrong password."),
    )
    response["WWW-Authenticate"] = "Token"
    return response


class SignInRequest(serializers.Serializer[dict[str, Any]]):
    username = serializers.CharField(max_length=150)
    password = serializers.CharField(max_length=128, trim_whitespace=False)


class ApiTokenResponse(serializers.Serializer[dict[str, str]]):
    token = serializers.CharField()


CREDENTIALS = {"username": "alice", "password": "correct horse battery staple"}
API_TOKEN = {"token": "0123456789abcdef0123456789abcdef01234567"}
describe_sign_in = described(
    Particulars(problems={"not-authenticated": {}, "rate-limited": {}}),
    operation_id="sign_in",
    summary="Sign in for an API token",
    tags=["sign-in"],
    auth=[],
    request=SignInRequest,
    examples=[OpenApiExample("credentials", CREDENTIALS, request_only=True)],
    responses={
        200: OpenApiResponse(
            ApiTokenResponse,
            description="The token",
            examples=[OpenApiExample("token", API_TOKEN)],
        )
    },
)


class SignInView(APIView):
    """Sign in for the API; a retry gets the same token."""

    authentication_classes = ()
    permission_classes = ()

    @describe_sign_in
    def post(self, request: Request) -> Response:
        """Return the token to send as `Authorization: Token …`."""
        credentials = SignInRequest(data=request.data)
        credentials.is_valid(raise_exception=True)
        count_attempt(request, credentials.validated_data["username"])
        user = authenticate(request, **credentials.validated_data)
        if user is None:
            return _refused()
        token, _created = Token.objects.get_or_create(user=user)
        return Response({"token": token.key}, headers={"Cache-Control": "no-store"})


class LimitedForm(AuthenticationForm):
    """Counts an attempt before it checks the password, under the name as Django reads it."""

    def clean(self) -> dict[str, Any]:
        """Check the password, or raise `RateLimited` through the form to the page."""
        if self.request is not None and "username" in self.cleaned_data:
            count_attempt(self.request, self.cleaned_data["username"])
        return super().clean()


class SignInPage(LoginView):
    """Sign in to the pages. A repeated call signs in again."""

    template_name = "sign_in.html"
    authentication_form = LimitedForm
    next_page = "/"

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Sign in; past the limit, the right password gets 429 like any other."""
        try:
            return super().dispatch(request, *args, **kwargs)
        except RateLimited as error:
            context = self.get_context_data(form=None, too_many=error)
            response = self.render_to_response(context, status=RateLimited.status)
            response["Retry-After"] = str(error.retry_after)
            return response
