"""API tokens for tests: as if used within the last hour, when nothing is to be noted about it."""

from django.contrib.auth.models import User

from web import api_tokens
from web.models import ApiToken


def api_token_of(user: User) -> str:
    """Return a token of a user's, the same each time."""
    return add_api_token(user, f"a-token-of-{user.pk}-for-tests")


def add_api_token(user: User, token: str) -> str:
    """Make a text a token of a user's, and return it."""
    api_tokens.add(user, token, name="")
    api_tokens.note_use(ApiToken.objects.get(digest=api_tokens.digest(token)).pk)
    return token
