"""Signing in, over the API, on the pages and in the admin, under the same exact limits."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import authenticate
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.models import User
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiExample, OpenApiResponse
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from idempotency.errors import RateLimited
from web import api_tokens, problems
from web.api import valid
from web.openapi import Particulars, described
from web.sign_in_limits import count_attempt, remember


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
    name = serializers.CharField(
        max_length=100,
        required=False,
        default="",
        allow_blank=True,
        help_text="What to call the token in the lists of them, such as the device that has it.",
    )


class ApiTokenResponse(serializers.Serializer[api_tokens.Issued]):
    token = serializers.CharField(help_text="Shown this once: the server stores its digest.")
    id = serializers.IntegerField()
    name = serializers.CharField(allow_blank=True)
    expires_at = serializers.DateTimeField()


CREDENTIALS = {"username": "alice", "password": "correct horse battery staple", "name": "phone"}
API_TOKEN = {
    "token": "api_3q2-7wEiM0nYkUu1mBvXo5pTzR4cJ8sLhG6fD9aKeQx",
    "id": 7,
    "name": "phone",
    "expires_at": "2026-04-02T03:04:05Z",
}
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
    """Sign in for the API; a retry gets another token."""

    authentication_classes = ()
    permission_classes = ()

    @describe_sign_in
    def post(self, request: Request) -> Response:
        """Return a new token to send as `Authorization: Token …`.

        A user has up to 20 tokens that expire: beyond, the one that was longest unused goes.
        """
        credentials = valid(SignInRequest, request.data)
        name = credentials.pop("name")
        count_attempt(request, credentials["username"])
        user = authenticate(request, **credentials)
        lifetime = timedelta(days=settings.API_TOKEN_LIFETIME_DAYS)
        if not isinstance(user, User) or not (
            issued := api_tokens.issue(user, name=name, lifetime=lifetime)
        ):
            return _refused()
        remember(request, user)
        return Response(ApiTokenResponse(issued).data, headers={"Cache-Control": "no-store"})


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

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        """Sign in, and remember the browser for when its user's name is under attack."""
        response = super().form_valid(form)
        remember(self.request, form.get_user(), response)
        return response

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Sign in; past the limit, the right password gets 429 like any other."""
        try:
            return super().dispatch(request, *args, **kwargs)
        except RateLimited as error:
            context = self.get_context_data(form=None, too_many=error)
            response = self.render_to_response(context, status=RateLimited.status)
            response["Retry-After"] = str(error.retry_after)
            return response
