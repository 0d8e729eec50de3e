"""Authentication by `Authorization: Token …`: DRF's own, on tokens stored as digests."""

from typing import Any

from django.contrib.auth.models import User
from django.utils.translation import gettext as _
from rest_framework import authentication
from rest_framework.exceptions import AuthenticationFailed

from web import api_tokens


class ApiTokenAuthentication(authentication.TokenAuthentication):
    """Finds the user of a token by one statement; `request.auth` is the token's id."""

    def authenticate(self, request: Any) -> tuple[User, int] | None:
        """Return the user of the request's token, or None where it has none."""
        self.request = request
        return super().authenticate(request)

    def authenticate_credentials(self, key: str) -> tuple[User, int]:
        """Return the token's active user.

        :raises AuthenticationFailed: the token is unknown, expired, revoked or an inactive user's
        """
        found = api_tokens.authenticate(key, self.request)
        if found is None:
            raise AuthenticationFailed(_("Invalid token."))  # in the words of DRF, which has them
        return found
