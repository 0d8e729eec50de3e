"""Authentication by token as DRF does it, but for the name of the model."""

from typing import Any

from django.contrib.auth.models import User
from rest_framework.authentication import TokenAuthentication
from rest_framework.exceptions import AuthenticationFailed

from web.api_tokens import digest
from web.models import ApiToken


class OrmAuthentication(TokenAuthentication):
    """Finds a token and its user by one query of the ORM."""

    def authenticate_credentials(self, key: str) -> tuple[User, Any]:
        """Return the token's active user.

        :raises AuthenticationFailed: the token is unknown, or an inactive user's
        """
        try:
            token = ApiToken.objects.select_related("user").get(digest=digest(key))
        except ApiToken.DoesNotExist as error:
            raise AuthenticationFailed("Invalid token.") from error
        if not token.user.is_active:
            raise AuthenticationFailed("User inactive or deleted.")
        return token.user, token
