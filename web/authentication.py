"""Authentication by `Authorization: Token …`: DRF's own, on tokens stored as digests."""

from django.contrib.auth.models import User
from django.utils.translation import gettext as _
from rest_framework.exceptions import AuthenticationFailed

from idempotency import drf_tokens
from web import api_tokens


class ApiTokenAuthentication(drf_tokens.TokenAuthentication):
    """Finds the user of a token by one statement; `request.auth` is the token's id."""

    def authenticate_credentials(self, key: str) -> tuple[User, int]:
        """Return the token's active user.

        :raises AuthenticationFailed: the token is unknown, expired, revoked or an inactive user's
        """
        found = api_tokens.authenticate(key, self.request)
        if found is None:
            raise AuthenticationFailed(_("Invalid token."))  # in the words of DRF, which has them
        return found
